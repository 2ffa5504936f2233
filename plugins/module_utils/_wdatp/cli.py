# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command `wdatp`: what a collector runs, without Ansible.

Each command is a module in commands/ with a function (options, console) -> exit code. What it needs is imported when it
is called: `wdatp status` runs every minute in some places.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

from .commandline import COMMANDS, parser
from .console import Console
from .errors import OptionError, WdatpError
from .options import CONNECTION
from .redact import environment_of

FAILED, USAGE = 1, 2
# Of `status`: monitoring must not take a command that was typed wrongly for a critical state.
_UNKNOWN = 3
_CRITICAL_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs what was typed, and returns the exit code; help, the version and signals end the process at once."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    console = Console(as_json="--json" in arguments)
    console.redactor.learn(CONNECTION, environment_of(CONNECTION))
    try:
        return _flushed(_run(arguments, console))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # Whoever read this has read enough. Python would flush once more when it ends, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


def _flushed(code: int) -> int:
    sys.stdout.flush()
    return code


def _run(arguments: Sequence[str], console: Console) -> int:
    names = {command.name for command in COMMANDS}
    is_status = next((word for word in arguments if word in names), "") == "status"
    try:
        options = vars(parser().parse_args(arguments))
        console.quiet = bool(options.get("quiet"))
        return _call(options, console)
    except WdatpError as error:
        console.failure(error)
        return _UNKNOWN if is_status else USAGE if isinstance(error, OptionError) else FAILED
    except (BrokenPipeError, KeyboardInterrupt):
        raise
    except Exception as error:
        console.failure(_bug(error))
        if os.environ.get("WDATP_DEBUG"):
            sys.stderr.write(console.redactor.text(traceback.format_exc()))
        return _UNKNOWN if is_status else FAILED


def _bug(error: Exception) -> WdatpError:
    return WdatpError(
        f"A bug in wdatp: {type(error).__name__}: {error}.",
        "Please report it, with the traceback that it shows when the environment variable WDATP_DEBUG is set.",
        code="bug",
    )


def _call(options: Mapping[str, Any], console: Console) -> int:
    command = options["command"]
    if command in ("pull", "backfill"):
        _stop_at_once(console)
        from .commands.pull import pull_job

        return pull_job(options, console)
    if command == "test":
        from .commands.connectivity import test_job

        return test_job(options, console)
    if command == "status":
        from .commands.status import show_status

        return show_status(options, console)
    if command == "report":
        from .commands.report import show_report

        return show_report(options, console)
    if command == "check-config":
        from .commands.check_config import check_config

        return check_config(options, console)
    from .commands.moving import move

    return move(options, console)


def _stop_at_once(console: Console) -> None:
    """A signal ends the process in the middle of whatever it does: the store and the files are made for that."""

    def stop(number: int, _frame: object) -> None:
        console.stopped(f"Stopped by {signal.Signals(number).name}. Nothing is lost: the next run goes on from here.")
        # As the signal's own doing: so a shell sees 128 and its number, and systemd an ordinary end.
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    for number in _CRITICAL_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, stop)
