# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the gates: `python3 tools/check.py`. It sets up all that it needs, in .local/ of the checkout."""

from __future__ import annotations

import sys

if sys.version_info < (3, 11):
    sys.exit(f"This needs Python 3.11 or later; this is Python {sys.version_info[0]}.{sys.version_info[1]}.")
# Nothing is written outside .local/, not even what Python makes of the tools' own files.
sys.dont_write_bytecode = True

import argparse
import os
import signal
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import FrameType

from common import LOCAL, Result, ToolError, checkout_files, digest, require_venv_module, stop_children, stopping
from gates import GATES, Gate, Options, Report, Skipped, choose
from pythons import own_python

_STAMPS = LOCAL / "stamps"
_MOST_LINES = 400


@dataclass
class Board:
    """Prints a line a gate as it ends, and adds up."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, gate: Gate, state: str, seconds: float | None = None, output: str = "") -> None:
        took = "" if seconds is None else f"{seconds:7.1f} s"
        with self._lock:
            print(f"{gate.name:16} {took:>9}  {state}", flush=True)
            if output:
                print("".join(f"    | {line}\n" for line in output.strip().splitlines()), flush=True)

    def add(self, gate: Gate, report: Report, seconds: float | None) -> None:
        with self._lock:
            self.passed += report.passed
            self.failed += report.failed
            self.skipped += report.skipped
        tests = f" ({_figures(report)})" if report.passed + report.failed > 1 else ""
        ok = report.result.ok
        state = "unchanged since it passed" if seconds is None else ("ok" if ok else "FAILED") + tests
        state += f"; {report.note}" if report.note else ""
        self.note(gate, state, seconds, "" if ok else _excerpt(gate, report.result.output))

    def skip(self, gate: Gate, why: str) -> None:
        with self._lock:
            self.skipped += 1
        self.note(gate, f"skipped: {why}")

    def close(self) -> int:
        """The last line, in the words that CI systems know."""
        print(_figures(self), flush=True)
        return int(bool(self.failed) or not self.passed)


def _excerpt(gate: Gate, output: str) -> str:
    """The end of a long output, where tools sum up, and where the rest is."""
    lines = output.strip().splitlines()
    if len(lines) <= _MOST_LINES:
        return output
    log = LOCAL / "results" / f"{gate.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(output)
    return "\n".join([f"({len(lines) - _MOST_LINES} lines more in {log})", *lines[-_MOST_LINES:]])


def _figures(count: Board | Report) -> str:
    return f"{count.passed} passed, {count.failed} failed" + (f", {count.skipped} skipped" if count.skipped else "")


def _run_gate(gate: Gate, options: Options, board: Board) -> None:
    started = time.monotonic()
    inputs = digest(checkout_files())
    board.note(gate, "started")
    try:
        report = gate.check(options)
    except Skipped as reason:
        board.skip(gate, str(reason))
        return
    except ToolError as error:
        report = Report(Result(1, str(error)), 0, 1)
    except Exception:
        # In a thread it would be lost, and with it the gate.
        report = Report(Result(1, traceback.format_exc()), 0, 1)
    if stopping():
        return
    board.add(gate, report, time.monotonic() - started)
    if gate.pure and report.result.ok:
        _STAMPS.mkdir(parents=True, exist_ok=True)
        (_STAMPS / gate.name).write_text(inputs)


def _unchanged(gate: Gate) -> bool:
    stamp = _STAMPS / gate.name
    return gate.pure and stamp.is_file() and stamp.read_text() == digest(checkout_files())


def _arguments(arguments: list[str]) -> tuple[argparse.Namespace, tuple[str, ...]]:
    own, pytest_args = arguments, []
    if "--" in arguments:
        split = arguments.index("--")
        own, pytest_args = arguments[:split], arguments[split + 1 :]
    parser = argparse.ArgumentParser(prog="tools/check.py", description=__doc__)
    parser.add_argument("gates", nargs="*", metavar="GATE", help="only these, whether or not their inputs changed")
    parser.add_argument("--list", action="store_true", help="show the gates")
    parser.add_argument("--fast", action="store_true", help="only the quick ones: what to run before a commit")
    parser.add_argument("--all", action="store_true", help="those too whose inputs have not changed since they passed")
    parser.add_argument("--jobs", type=int, default=2, help="how many gates run at a time (default: 2)")
    parser.epilog = "Arguments after -- go to pytest: tools/check.py unit -- -k paging -x"
    return parser.parse_args(own), tuple(pytest_args)


def _print_gates() -> int:
    for gate in GATES:
        print(f"{gate.name:16} {gate.about}{' (fast)' if gate.fast else ''}")
    return 0


def _check(wanted: argparse.Namespace, pytest_args: tuple[str, ...]) -> int:
    gates = choose(wanted.gates, wanted.fast)
    require_venv_module(own_python())
    options = Options(pytest_args, live=len(gates) == 1 and bool(wanted.gates))
    board = Board()
    # CI proves everything; a person who names a gate wants it run.
    again = wanted.all or wanted.gates or os.environ.get("CI", "").lower() in ("1", "true", "yes")
    with ThreadPoolExecutor(wanted.jobs) as pool:
        try:
            for gate in gates:
                if not again and _unchanged(gate):
                    board.add(gate, Report(Result(0, ""), 1, 0), None)
                else:
                    pool.submit(_run_gate, gate, options, board)
            pool.shutdown()
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            stop_children()
            raise
    return board.close()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main(arguments: list[str]) -> int:
    signal.signal(signal.SIGTERM, _interrupt)
    wanted, pytest_args = _arguments(arguments)
    if wanted.list:
        return _print_gates()
    try:
        return _check(wanted, pytest_args)
    except ToolError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
