# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Renew the second half of each tools/requirements/*.txt: what the pins in the first half bring with them.

Change a pin, run `python3 tools/pin.py`, then `python3 tools/check.py --all`.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

from common import REQUIREMENTS, ToolError, must, user_env
from pythons import find_python

_BRINGS = "# What these bring:"
# Pins have to suit the oldest Python that a file is for.
_PYTHONS = {"unit-3.9": "3.9"}
_DEFAULT = "3.11"


def _chosen(path: Path) -> str:
    return path.read_text().partition(_BRINGS)[0].rstrip()


def _names(text: str) -> set[str]:
    return {_plain(name) for name in re.findall(r"^([\w.-]+)==", text, re.MULTILINE)}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _included(path: Path) -> list[Path]:
    return [path.parent / name for name in re.findall(r"^-r (\S+)$", path.read_text(), re.MULTILINE)]


def _renew(path: Path) -> None:
    chosen = _chosen(path)
    known = _names(chosen).union(*(_names(other.read_text()) for other in _included(path)))
    python = find_python([_PYTHONS.get(path.stem, _DEFAULT)])
    if not python:
        raise ToolError(f"{path.name} needs Python {_PYTHONS.get(path.stem, _DEFAULT)}.")
    with tempfile.TemporaryDirectory() as directory:
        wanted = Path(directory, "wanted.txt")
        wanted.write_text(re.sub(r"^-r ", f"-r {path.parent}/", chosen, flags=re.MULTILINE))
        pip = [f"{directory}/venv/bin/python", "-m", "pip"]
        must([python, "-m", "venv", Path(directory, "venv")], user_env())
        must([*pip, "install", "--quiet", "--requirement", wanted], user_env())
        frozen = must([*pip, "freeze"], user_env()).splitlines()
    brought = sorted(line for line in frozen if _names(line) - known)
    path.write_text("\n".join([chosen, "", _BRINGS, *brought, ""] if brought else [chosen, ""]))
    print(f"{path.name}: {len(brought)} packages", flush=True)


def main() -> int:
    try:
        # A file that others take in comes before them.
        for path in sorted(REQUIREMENTS.glob("*.txt"), key=lambda path: len(_included(path))):
            _renew(path)
    except ToolError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
