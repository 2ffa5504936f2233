# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command `wdatp`: what is typed, what comes out, with which exit code."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp import console, program
from ansible_collections.secops.defender.plugins.module_utils._wdatp.cli import main
from ansible_collections.secops.defender.plugins.module_utils._wdatp.commandline import COMMANDS, parser
from ansible_collections.secops.defender.plugins.module_utils._wdatp.errors import ProgramError, WdatpError
from ansible_collections.secops.defender.plugins.module_utils._wdatp.options import PROGRAM
from ansible_collections.secops.defender.plugins.module_utils._wdatp.program import build, define_program
from ansible_collections.secops.defender.plugins.module_utils._wdatp.status import job_infos
from collecting import CUSTOMERS, NAMES, Collector
from mock_api import MockTenant

TENANT = {**CUSTOMERS, "alerts": 20}
ROOT = Path(__file__).resolve().parents[5]
ENGINE = ROOT / "plugins" / "module_utils" / "_wdatp"


@pytest.fixture
def collector(collector: Collector) -> Collector:
    """With a job."""
    collector.define()
    return collector


class Typed:
    """Types a command, and keeps what came of it."""

    def __init__(self, collector: Collector, capsys: pytest.CaptureFixture[str]) -> None:
        self.directories = ["--config-dir", collector.config_dir, "--state-dir", collector.state_dir]
        self._capsys = capsys
        self.code, self.out, self.err = 0, "", ""

    def __call__(self, *words: str) -> Typed:
        self.code = main([*self.directories, *words])
        self.out, self.err = self._capsys.readouterr()
        return self

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def wdatp(collector: Collector, capsys: pytest.CaptureFixture[str]) -> Typed:
    return Typed(collector, capsys)


def test_pull_says_one_line(wdatp: Typed, collector: Collector) -> None:
    assert wdatp("pull").code == 0
    figures = "60 new, 0 updated, 0 known; 60 written, 0 waiting; 0 s behind; 3 tenants, 0 failed; "
    assert re.fullmatch(rf"job default: {figures}\d+ requests in [\d.]+ s\n", wdatp.out)
    assert wdatp.err == ""
    assert len(collector.events.read_bytes().splitlines()) == 60
    assert wdatp("pull", "--quiet").out == ""
    assert wdatp("pull", "--json").json["complete"] is True


def test_pull_names_each_tenant_that_fails_with_its_remedy(wdatp: Typed, tenant: MockTenant) -> None:
    beta = tenant.tenants[1]["tenant_id"]
    tenant.set_faults([{"match": {"tenant": beta, "leg": "graph_alerts"}, "do": {"status": 403}}])
    assert wdatp("pull").code == 1
    (line,) = wdatp.err.splitlines()
    assert line.startswith("error: Beta (graph_alerts): ")
    assert "SecurityAlert.Read.All" in line
    assert "3 tenants, 1 failed" in wdatp.out
    found = wdatp("pull", "--json").json
    assert (wdatp.code, found["failed"], found["error"]["code"]) == (1, True, "api.forbidden")


def test_whoever_watches_sees_how_far_it_is(wdatp: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    wdatp("pull")
    assert "[3/3] 60 new events; last: " in wdatp.err
    # The line is gone when the result is there, and nothing of it is in the result.
    assert wdatp.err.endswith("\x1b[K")
    assert wdatp.out.startswith("job default: 60 new")
    assert wdatp("pull", "--json").err == ""


def test_the_journal_is_told_how_bad_it_is(wdatp: Typed, tenant: MockTenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "_is_journal", lambda stream: True)
    tenant.set_faults([{"match": {"leg": "graph_alerts"}, "do": {"status": 403}}])
    wdatp("pull")
    assert [line[:3] for line in wdatp.err.splitlines()] == ["<3>"] * 3


def test_a_disabled_job_is_left_alone(wdatp: Typed, collector: Collector) -> None:
    collector.define(enabled=False)
    assert wdatp("pull").code == 0
    assert "is disabled" in wdatp.err
    assert not collector.events.exists()


def test_backfill_writes_nothing_twice(wdatp: Typed) -> None:
    wdatp("pull")
    found = wdatp("backfill", "--since", "2d", "--json").json
    assert (wdatp.code, found["new"], found["duplicates"]) == (0, 0, 60)
    assert wdatp("backfill").code == 2
    assert "--since" in wdatp.err
    assert wdatp("backfill", "--since", "soon").code == 2


def test_test_tells_each_tenant(wdatp: Typed, tenant: MockTenant) -> None:
    assert wdatp("test").code == 0
    assert "3 of 3 passed." in wdatp.out
    assert all(name in wdatp.out for name in NAMES)
    beta = tenant.tenants[1]["tenant_id"]
    tenant.set_faults([{"match": {"tenant": beta, "leg": "graph_alerts"}, "do": {"status": 403}}])
    assert wdatp("test").code == 1
    assert "2 of 3 passed." in wdatp.out
    assert "grant admin consent" in wdatp.out
    found = wdatp("test", "--organization", "Beta", "--json").json
    (one,) = found["tests"]
    assert (found["reachable"], one["organization"], one["error"]["code"]) == (False, "Beta", "api.forbidden")
    assert one["stages"][-1]["ok"] is False
    assert wdatp("test", "--credential", "nobody").code == 1


def test_status_is_a_monitoring_plugin(wdatp: Typed, collector: Collector) -> None:
    assert wdatp("status").code == 3
    assert wdatp.out.startswith("WDATP UNKNOWN - ")
    wdatp("pull")
    assert wdatp("status").code == 0
    assert re.fullmatch(
        r"WDATP OK - job default: 3 streams, .* \| lag=\d+s streams=3 failing=0 pending=0 quarantined=0\n", wdatp.out
    )
    time.sleep(2.5)
    assert wdatp("status", "--warning", "0").code == 1
    assert wdatp("status", "--critical", "0s").code == 2
    assert wdatp("status", "--json").json == {"jobs": job_infos(collector.config_dir, collector.state_dir)}
    # What was typed wrongly is no critical state.
    assert wdatp("status", "--wrong").code == 3
    assert wdatp("status", "--job", "nope").code == 3
    assert wdatp("pull", "--job", "status").code == 1
    assert wdatp("report", "--status", "status").code == 2


def test_status_writes_metrics(wdatp: Typed, tmp_path: Path) -> None:
    wdatp("pull")
    path = tmp_path / "wdatp.prom"
    assert wdatp("status", "--prometheus", str(path)).code == 0
    assert "wdatp_job_last_run_new_events" in path.read_text("utf-8")
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert wdatp("status", "--prometheus", str(tmp_path / "no" / "file")).code == 3


def test_check_config_finds_what_is_wrong_and_touches_nothing(wdatp: Typed, collector: Collector) -> None:
    os.makedirs(collector.state_dir)
    assert wdatp("check-config").code == 0
    assert "All 7 are fine." in wdatp.out
    assert os.listdir(collector.state_dir) == []
    Path(collector.config_dir, "credentials", "second.json").write_text("{", "utf-8")
    os.chmod(os.path.join(collector.config_dir, "secrets"), 0o755)
    collector.define(destinations=[{"path": "/nowhere/at/all.jsonl"}])
    found = wdatp("check-config", "--json").json
    assert (wdatp.code, found["valid"]) == (1, False)
    wrong = [item for item in found["checks"] if item["problem"]]
    assert len(wrong) == 3
    assert all(item["remedy"] for item in wrong)


def test_a_tenant_moves(wdatp: Typed, tmp_path: Path) -> None:
    wdatp("pull")
    path = str(tmp_path / "beta.jsonl")
    assert wdatp("export", "--tenant", "Beta", path).code == 0
    assert "KNOWN EVENTS" in wdatp.out
    assert wdatp("pull").code == 1
    assert "was exported" in wdatp.err
    assert wdatp("import", path).code == 0
    assert wdatp("pull").code == 0
    assert wdatp("export", "--leaving", str(tmp_path)).out == "No tenant belongs to another collector.\n"
    for wrong in (["export"], ["export", "--tenant", "Beta"], ["import"], ["import", "--tenant", "x", "y"]):
        assert wdatp(*wrong).code == 2


def test_the_job_that_is_meant(wdatp: Typed, collector: Collector) -> None:
    collector.define(state="absent")
    assert wdatp("pull").code == 1
    assert "none is defined" in wdatp.err
    collector.define(name="only")
    assert wdatp("pull").out.startswith("job only: ")
    collector.define(name="other", destinations=[{"path": os.path.join(collector.state_dir, "other.jsonl")}])
    assert wdatp("pull").code == 1
    assert "there are only, other" in wdatp.err


def test_errors_are_json_where_that_was_asked_for(wdatp: Typed) -> None:
    found = wdatp("pull", "--job", "nope", "--json").json
    assert (wdatp.code, found["failed"], found["error"]["code"]) == (1, True, "job.unknown")
    assert wdatp.err == ""
    assert wdatp("pull", "--nonsense", "--json").json["error"]["code"] == "option.invalid"


def test_a_bug_is_told_in_a_line(wdatp: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*unused: Any) -> None:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr("ansible_collections.secops.defender.plugins.module_utils._wdatp.pull.pull_options", broken)
    assert wdatp("pull").code == 1
    assert "A bug in wdatp: ZeroDivisionError" in wdatp.err
    assert "Traceback" not in wdatp.err
    monkeypatch.setenv("WDATP_DEBUG", "1")
    assert "Traceback" in wdatp("pull").err


def test_no_secret_is_said(wdatp: Typed, tenant: MockTenant) -> None:
    tenant.set_faults([{"match": {"leg": "token"}, "do": {"status": 400, "body": "{sent}", "echo": True}}])
    for words in (["pull"], ["pull", "--json"], ["test"], ["test", "--json"], ["status"]):
        wdatp(*words)
        assert tenant.client_secret not in wdatp.out + wdatp.err


# --- help -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["", *(command.name for command in COMMANDS)])
def test_help_teaches_and_the_docs_know_it(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parser().parse_args([*filter(None, [command]), "--help"])
    assert ended.value.code == 0
    text, docs = capsys.readouterr().out, (ROOT / "docs" / "command.md").read_text("utf-8")
    for option in set(re.findall(r"--[a-z-]+", text)) - {"--help"}:
        assert option in docs, option
    assert f"`{command}" in docs


# --- the program ------------------------------------------------------------------------------------------------------


def options(path: Path, **more: Any) -> dict[str, Any]:
    return {**{option.name: option.default for option in PROGRAM}, "path": str(path), **more}


def test_the_program_holds_the_whole_engine() -> None:
    """Nothing that a command imports late is missing, and nothing else lies about."""
    files = {name for name in build("/usr/bin/python3").files if name != "__main__.py"}
    there = {f"_wdatp/{path.relative_to(ENGINE).as_posix()}" for path in ENGINE.rglob("*.py")}
    # What only modules need.
    assert there - files == {"_wdatp/program.py", "_wdatp/definitions.py", "_wdatp/details.py"}
    assert files <= there


def test_the_program_is_written_once(tmp_path: Path) -> None:
    path = tmp_path / "wdatp"
    assert define_program(options(path), check=True).changed
    assert not path.exists()
    first = define_program(options(path))
    assert first.changed
    assert stat.S_IMODE(path.stat().st_mode) == 0o755
    assert path.read_bytes() == build(program.default_python()).content
    assert not define_program(options(path)).changed
    assert define_program(options(path, python=sys.executable)).changed
    os.chmod(path, 0o700)
    assert define_program(options(path, python=sys.executable)).changed
    assert define_program(options(path, state="absent")).changed
    assert not path.exists()
    assert not define_program(options(path, state="absent")).changed


def test_what_is_no_older_program_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "wdatp"
    path.write_text("#!/bin/sh\n", "utf-8")
    for state in ("present", "absent"):
        with pytest.raises(ProgramError) as caught:
            define_program(options(path, state=state))
        assert caught.value.code == "program.foreign"
    path.unlink()
    with monkeypatch.context() as patch:
        real = program._sources
        patch.setattr(program, "VERSION", "99.0.0")
        newer = {"_wdatp/version.py": 'VERSION = "99.0.0"\n'}
        patch.setattr(program, "_sources", lambda: {**real(), **newer})
        define_program(options(path))
    with pytest.raises(ProgramError) as caught:
        define_program(options(path))
    assert caught.value.code == "program.newer"
    assert define_program(options(path, allow_downgrade=True)).changed


@pytest.mark.parametrize("python", ["python3", "/with blank/python3", "/" + "x" * 200])
def test_a_python_that_can_stand_in_no_first_line(tmp_path: Path, python: str) -> None:
    with pytest.raises(WdatpError) as caught:
        define_program(options(tmp_path / "wdatp", python=python))
    assert caught.value.code == "option.invalid"


@pytest.fixture(scope="module")
def real_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bin") / "wdatp"
    path.write_bytes(build(sys.executable).content)
    path.chmod(0o755)
    return path


def test_the_program_runs_alone(real_program: Path, collector: Collector, tmp_path: Path) -> None:
    assert zipfile.is_zipfile(real_program)
    directories = ["--config-dir", collector.config_dir, "--state-dir", collector.state_dir]
    # Isolated: this would break any Python.
    env = {"PYTHONPATH": str(ENGINE), "PATH": "/usr/bin:/bin", "WDATP_RUNTIME_DIR": str(tmp_path / "run")}
    done = subprocess.run(
        [real_program, *directories, "pull"], cwd="/", env=env, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "60 new" in done.stdout


def test_a_signal_ends_it_at_once_and_nothing_is_lost(
    real_program: Path, collector: Collector, tenant: MockTenant, tmp_path: Path
) -> None:
    tenant.set_faults([{"match": {"leg": "graph_alerts"}, "do": {"delay": 8}}])
    directories = ["--config-dir", collector.config_dir, "--state-dir", collector.state_dir]
    env = {"PATH": "/usr/bin:/bin", "WDATP_RUNTIME_DIR": str(tmp_path / "run")}
    process = subprocess.Popen([real_program, *directories, "pull"], env=env, stderr=subprocess.PIPE, text=True)
    # Requests are noted when they are answered: with its tokens, it is waiting for alerts.
    while sum(request["leg"] == "token" for request in tenant.requests) < 3:
        time.sleep(0.05)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=30)[1]
    assert process.returncode == -signal.SIGTERM
    assert time.monotonic() - began < 4
    assert "Nothing is lost" in said
    tenant.set_faults([])
    assert collector.pull(insists=True).to_dict()["new"] == 60
