# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The test command: which gates it chooses, how it counts, how it ends what it started."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import pytest

if sys.version_info < (3, 11):
    pytest.skip("the tools need Python 3.11", allow_module_level=True)

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tools"))

import check
import common
import gates
import pythons

OK, BAD = common.Result(0, ""), common.Result(1, "it broke\n")


@pytest.fixture
def going(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test leaves the tools stopped for the next one."""
    monkeypatch.setattr(common, "_stopping", threading.Event())


def _names(chosen: list[gates.Gate]) -> set[str]:
    return {gate.name for gate in chosen}


def test_no_name_means_all_gates() -> None:
    assert gates.choose([], fast=False) == gates.GATES


def test_a_name_means_its_variants_too() -> None:
    assert _names(gates.choose(["sanity"], fast=False)) == {"sanity-2.16", "sanity-newest"}
    assert _names(gates.choose(["unit"], fast=False)) == {"unit"}


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(common.ToolError, match=r"no gate 'typo'.*integration"):
        gates.choose(["typo"], fast=False)


def test_counts_of_pytest(tmp_path: Path) -> None:
    results = tmp_path / "results.xml"
    assert gates._count(results) == (0, 0, 0)
    results.write_text('<testsuites><testsuite tests="9" failures="2" errors="1" skipped="3"/></testsuites>')
    assert gates._count(results) == (3, 3, 3)


def test_seed_of_the_stateful_test_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = tmp_path / "results.xml"
    assert gates._stateful_note(results) == ""
    properties = '<property name="stateful_seed" value="7"/><property name="stateful_steps" value="{}"/>'
    cases = "".join(f"<testcase><properties>{properties.format(steps)}</properties></testcase>" for steps in (5, 6))
    results.write_text(f"<testsuites><testsuite>{cases}<testcase/></testsuite></testsuites>")
    note = gates._stateful_note(results)
    check.Board().add(gates.GATES[0], gates.Report(OK, 5, 0, note=note), 1.0)
    assert capsys.readouterr().out.endswith("ok (5 passed, 0 failed); 11 stateful steps, WDATP_TEST_SEED=7\n")


@pytest.mark.parametrize(
    ("reports", "line", "code"),
    [
        ([gates.Report(OK, 5, 0), gates.Report(OK, 1, 0)], "6 passed, 0 failed", 0),
        ([gates.Report(OK, 5, 0, 2)], "5 passed, 0 failed, 2 skipped", 0),
        ([gates.Report(OK, 5, 0), gates.Report(BAD, 0, 1)], "5 passed, 1 failed", 1),
        ([], "0 passed, 0 failed", 1),
    ],
)
def test_closing_line(capsys: pytest.CaptureFixture[str], reports: list[gates.Report], line: str, code: int) -> None:
    board = check.Board()
    for report in reports:
        board.add(gates.GATES[0], report, 1.0)
    assert board.close() == code
    output = capsys.readouterr().out
    assert output.splitlines()[-1] == line
    assert ("it broke" in output) == (BAD in [report.result for report in reports])


def test_a_long_output_is_cut_and_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(check, "LOCAL", tmp_path)
    output = "".join(f"{number}\n" for number in range(1000))
    excerpt = check._excerpt(gates.GATES[0], output).splitlines()
    assert excerpt[0].startswith("(600 lines more in ")
    assert excerpt[1:] == output.splitlines()[600:]
    assert (tmp_path / "results" / f"{gates.GATES[0].name}.log").read_text() == output


def test_a_command_keeps_its_output_and_code(going: None) -> None:
    assert common.run([sys.executable, "-c", "print('hello'); raise SystemExit(3)"]) == common.Result(3, "hello\n")


def test_a_command_that_takes_too_long_is_ended(going: None) -> None:
    result = common.run([sys.executable, "-c", "import time; time.sleep(60)"], timeout=0.5)
    assert not result.ok
    assert "ended after" in result.output


def test_what_a_command_leaves_running_is_ended(going: None) -> None:
    """Its descendant has the output open, and would be waited for in vain."""
    sleep = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid)"
    started = time.monotonic()
    pid = int(common.run([sys.executable, "-c", sleep]).output)
    assert time.monotonic() - started < 30
    assert not _runs(pid)


def _runs(pid: int) -> bool:
    deadline = time.monotonic() + 10
    status = Path(f"/proc/{pid}/stat")
    while time.monotonic() < deadline:
        if not status.exists() or status.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return False
        time.sleep(0.05)
    return True


def test_a_real_tenants_settings_do_not_reach_the_gates(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WDATP_CLIENT_SECRET", "real")
    monkeypatch.setenv("ANSIBLE_CONFIG", "/elsewhere")
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.example/simple")
    monkeypatch.setenv("WDATP_TEST_SEED", "7")
    env = common.private_env(tmp_path)
    assert not {"WDATP_CLIENT_SECRET", "ANSIBLE_CONFIG"} & set(env)
    assert env["WDATP_TEST_SEED"] == "7"
    assert env["PIP_INDEX_URL"] == "https://mirror.example/simple"
    assert Path(env["HOME"]).is_relative_to(common.LOCAL)


def test_a_python_that_does_not_start_is_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as pyenv's stand-in for a version that is not switched on."""
    _fake_python(tmp_path / "python3.99", "exit 127")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert pythons.find_python(["3.99"]) is None


def _fake_python(path: Path, answer: str) -> Path:
    path.write_text(f"#!/bin/sh\n{answer}\n")
    path.chmod(0o755)
    return path


def test_a_python_without_venv_is_a_sentence(going: None, tmp_path: Path) -> None:
    python = _fake_python(tmp_path / "python", "exit 1")
    with pytest.raises(common.ToolError, match="apt-get install python3-venv"):
        common.require_venv_module(python)


def test_a_missing_program_is_a_sentence(going: None) -> None:
    with pytest.raises(common.ToolError, match="no-such-program is not there"):
        common.run(["no-such-program"])


def test_a_gate_that_breaks_has_failed(going: None) -> None:
    def broken(options: gates.Options) -> gates.Report:
        raise ZeroDivisionError("oops")

    board = check.Board()
    check._run_gate(gates.Gate("broken", "", broken), gates.Options(), board)
    assert (board.passed, board.failed) == (0, 1)


def test_a_changed_file_changes_the_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "ROOT", tmp_path)
    (tmp_path / "a").write_text("1")
    first = common.digest([Path("a")])
    (tmp_path / "a").write_text("2")
    assert common.digest([Path("a")]) != first
