# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person, a journal or another program reads of the command: results on stdout, all else on stderr."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from .errors import DependencyError, WdatpError
from .redact import Redactor, masked

# Of sd-daemon(3), with which the journal sorts what services write; and the word where there is no journal.
ERROR, WARNING, INFO = (("<3>", "error: "), ("<4>", "warning: "), ("<6>", ""))
# To the line's beginning, and the line empty (ECMA-48, "erase in line").
_CLEAR = "\r\x1b[K"


class Console:
    """`as_json`: the result is one JSON document on stdout, an error too. `quiet`: only what is wrong is said."""

    def __init__(self, as_json: bool = False, quiet: bool = False, redactor: Redactor | None = None) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self.redactor = redactor or Redactor()
        # Somebody is watching.
        self.is_live = sys.stderr.isatty()
        self._is_journal = _is_journal(sys.stderr)
        self._guard = threading.Lock()
        self._passing = ""

    # --- results ---------------------------------------------------------------------------------------------------

    def result(self, value: Mapping[str, Any], text: str = "") -> None:
        """What a command came to: for programs and for people. `text` is masked by whoever made it: it may be data."""
        self.passing("")
        if self.as_json:
            text = json.dumps(masked(value, self.redactor.text), indent=2, ensure_ascii=False)
        if text:
            sys.stdout.write(f"{text}\n")

    def failure(self, error: WdatpError) -> None:
        """What ends a command, in the form of a failed task's result."""
        shown = {name: self.redactor.text(text) for name, text in _explained(error).to_dict().items()}
        if self.as_json:
            message = f"{shown['message']} {shown['remedy']}".strip()
            self.result({"failed": True, "msg": message, "error": shown})
        else:
            self.say(ERROR, shown["message"], shown["remedy"])

    # --- what is said in passing -----------------------------------------------------------------------------------

    def say(self, level: tuple[str, str], message: str, remedy: str = "") -> None:
        """One line on stderr; on a terminal the remedy has a line of its own."""
        if self.quiet and level == INFO:
            return
        prefix = level[0] if self._is_journal else level[1]
        gap = f"\n{' ' * len(level[1])}" if self.is_live and remedy else " "
        text = self.redactor.text(f"{message}{gap}{remedy}".strip())
        with self._guard:
            self._write(f"{_CLEAR if self._passing else ''}{prefix}{text}\n{self._passing}")

    def warn(self, text: str) -> None:
        self.say(WARNING, text)

    def passing(self, text: str) -> None:
        """A line that the next one takes the place of, for whoever is watching; nothing takes it away."""
        if not self.is_live or self.as_json or self.quiet:
            return
        with self._guard:
            text = self.redactor.text(text)[: shutil.get_terminal_size().columns - 1]
            self._write(f"{_CLEAR if self._passing else ''}{text}")
            self._passing = text

    def stopped(self, text: str) -> None:
        """From a signal handler: the process may be in the middle of any of the others."""
        clear = _CLEAR if self._passing else ""
        prefix = INFO[0] if self._is_journal else INFO[1]
        with contextlib.suppress(OSError):
            os.write(sys.stderr.fileno(), f"{clear}{prefix}{text}\n".encode())

    @staticmethod
    def _write(text: str) -> None:
        # Where nobody listens any more, the work goes on all the same.
        with contextlib.suppress(BrokenPipeError):
            sys.stderr.write(text)
            sys.stderr.flush()


def _explained(error: WdatpError) -> WdatpError:
    """A missing library is that of the program's own Python."""
    if not isinstance(error, DependencyError):
        return error
    return WdatpError(
        f"The Python library {error.library} is missing for {sys.executable}.",
        f"Install the distribution's package (python3-{error.library}), or have the program use a virtual environment"
        " that has it (the option python of the module secops.defender.wdatp_program).",
        code=error.code,
    )


def _is_journal(stream: Any) -> bool:
    """Whether what is written there goes to the journal (systemd.exec(5), JOURNAL_STREAM)."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def table(rows: Sequence[Sequence[str]], indent: str = "") -> str:
    """Columns as wide as what they hold, apart from the last."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ("  ".join(text.ljust(width) for text, width in zip(row, widths)) for row in rows)
    return "\n".join(f"{indent}{line}".rstrip() for line in lines)
