# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line: started either way, ready when it says so, gone when it should be."""

from __future__ import annotations

import json
import os
import shlex
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from mock_api.cli import main

ROOT = Path(__file__).resolve().parents[3]
BY_PATH = (sys.executable, str(ROOT / "tests" / "mock_api"))
BY_NAME = (sys.executable, "-m", "tests.mock_api")

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    running: list[subprocess.Popen[str]] = []

    def run(*arguments: str, command: tuple[str, ...] = BY_PATH, **env: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*command, "--max-seconds", "60", *arguments],
            cwd=ROOT if command is BY_NAME else tmp_path,
            env={**os.environ, "TMPDIR": str(tmp_path), **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return process

    yield run
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


def line_of(process: subprocess.Popen[str]) -> dict[str, str]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise AssertionError(process.communicate())
    assert line.startswith("mock tenant ready: ")
    return dict(part.split("=", 1) for part in shlex.split(line)[3:])


def answers(found: dict[str, str]) -> bool:
    url = f"{found['url']}/_mock/ready"
    return bool(requests.get(url, verify=found["ca_path"], timeout=10).json()["tenant_id"] == found["tenant_id"])


@pytest.mark.parametrize("command", [BY_PATH, BY_NAME], ids=["by path", "by name"])
def test_started_either_way(start: Start, command: list[str], tmp_path: Path) -> None:
    begin = time.monotonic()
    process = start("--alerts", "1000", command=command)
    found = line_of(process)
    # About 0.4 s on an idle machine.
    assert time.monotonic() - begin < 5
    assert answers(found)
    assert Path(found["ca_path"]).parent.parent == tmp_path
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert list(tmp_path.iterdir()) == []


def test_help() -> None:
    found = subprocess.run([*BY_PATH, "--help"], capture_output=True, text=True, check=True)
    assert "--ready-file" in found.stdout


def test_files_for_those_who_wait(start: Start, tmp_path: Path) -> None:
    ready, env = tmp_path / "new" / "ready.json", tmp_path / "mock.env"
    files = ["--ready-file", str(ready), "--env-file", str(env), "--dir", str(tmp_path / "keys")]
    process = start("--tenants", "2", "--client-id", "app", *files, MOCK_CLIENT_SECRET="s3cr~t: it's")
    found = line_of(process)
    value = json.loads(ready.read_text())
    assert value["url"] == value["api_url"] == value["authority_url"] == found["url"]
    assert (value["client_id"], value["client_secret"], value["pid"]) == ("app", "s3cr~t: it's", process.pid)
    assert value["ca_path"] == str(tmp_path / "keys" / "ca.pem")
    assert len(value["tenants"]) == 2
    for path in (ready, env):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    shell = f"set -a; . '{env}'; echo \"$WDATP_CLIENT_SECRET|$WDATP_API_URL|$WDATP_CA_PATH\""
    text = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True).stdout.strip()
    assert text == f"s3cr~t: it's|{found['url']}|{found['ca_path']}"


def test_the_default_secret_needs_no_quotes(start: Start, tmp_path: Path) -> None:
    """So that the file can be appended to GITHUB_ENV, which knows no quotes."""
    found = line_of(start("--env-file", str(tmp_path / "mock.env")))
    lines = dict(line.split("=", 1) for line in (tmp_path / "mock.env").read_text().splitlines())
    assert lines == {
        "WDATP_TENANT_ID": found["tenant_id"],
        "WDATP_CLIENT_ID": found["client_id"],
        "WDATP_CLIENT_SECRET": found["client_secret"],
        "WDATP_AUTHORITY_URL": found["url"],
        "WDATP_API_URL": found["url"],
        "WDATP_CA_PATH": found["ca_path"],
    }


def test_knobs_and_faults_from_files(start: Start, tmp_path: Path) -> None:
    config, faults = tmp_path / "knobs.json", tmp_path / "faults.json"
    config.write_text(json.dumps({"alerts": 7, "server_certificate": "expired"}))
    faults.write_text(json.dumps([{"match": {"leg": "token"}, "do": {"status": 503}}]))
    found = line_of(start("--config", str(config), "--faults", str(faults), "--alerts", "5"))
    with pytest.raises(requests.exceptions.SSLError):
        answers(found)
    session = requests.Session()
    session.verify = False
    session.trust_env = False
    with pytest.warns(Warning, match="Unverified HTTPS request"):
        assert session.get(f"{found['url']}/_mock/stats", timeout=10).json()["alerts"] == {found["tenant_id"]: 7}
        assert session.get(f"{found['url']}/_mock/faults", timeout=10).json()[0]["do"] == {"status": 503}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_signals_end_it_cleanly(start: Start, tmp_path: Path, number: int) -> None:
    process = start()
    found = line_of(process)
    # Also with a connection that is still open.
    with requests.Session() as session:
        session.get(f"{found['url']}/_mock/ready", verify=found["ca_path"], timeout=10)
        process.send_signal(number)
        assert process.wait(10) == 0
    assert list(tmp_path.iterdir()) == []
    assert process.communicate()[1] == ""


def test_it_ends_with_its_parent(start: Start, tmp_path: Path) -> None:
    """Also where the parent is killed and can't say goodbye."""
    script = f"""
        import subprocess, sys, os
        child = subprocess.Popen([*{BY_PATH!r}, "--parent-pid", str(os.getpid())], stdout=subprocess.PIPE)
        print(child.pid, child.stdout.readline().decode(), flush=True)
        sys.stdin.read()
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline().split()[0])
        parent.kill()
    deadline = time.monotonic() + 10
    while list(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list(tmp_path.iterdir()) == []
    assert not _is_running(child)


def _is_running(pid: int) -> bool:
    for _try in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.05)
    # Where nobody reaps orphans, as in some containers, it stays as a zombie.
    return " Z " not in Path(f"/proc/{pid}/stat").read_text() if Path(f"/proc/{pid}/stat").exists() else True


def test_it_ends_after_a_time(start: Start) -> None:
    process = start("--max-seconds", "0")
    assert process.wait(20) == 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--span", "soon"], "mock tenant: not a time span: 'soon'; write for example 15m, 24h or 30d"),
        (["--config", "missing.json"], "mock tenant: [Errno 2] No such file or directory: 'missing.json'"),
        (["--config", "bad.json"], "mock tenant: Expecting property name"),
        (["--config", "unknown.json"], "mock tenant: unknown knobs: colour; known are alerts"),
        (["--config", "list.json"], "mock tenant: list.json does not hold a JSON object"),
        (["--port", "99999"], "mock tenant: there is no port 99999"),
    ],
)
def test_mistakes_are_told_in_one_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    text: str,
) -> None:
    # In this very process, whose signals are pytest's.
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.json").write_text("{x")
    (tmp_path / "unknown.json").write_text('{"colour": "red"}')
    (tmp_path / "list.json").write_text("[]")
    assert main([*arguments, "--alerts", "5"]) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.startswith(text)
    assert errors.count("\n") == 1
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


@pytest.mark.parametrize(("command", "module"), [(BY_PATH, "jwt"), (BY_NAME, "cryptography")])
def test_missing_libraries(start: Start, tmp_path: Path, command: list[str], module: str) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / f"{module}.py").write_text(f"raise ModuleNotFoundError('No module named {module}', name='{module}')\n")
    process = start(command=command, PYTHONPATH=str(hidden))
    _output, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert errors == "mock tenant: PyJWT and cryptography are missing; `pip install msal` brings both.\n"


def test_metadata_service_of_a_host(start: Start, tmp_path: Path) -> None:
    """Its address is in the file of environment variables, and its tokens open the tenant's APIs."""
    path = tmp_path / "mock.env"
    found = line_of(start("--imds", "vm", "--env-file", str(path)))
    values = dict(line.split("=", 1) for line in path.read_text().splitlines())
    answer = requests.get(
        f"{values['AZURE_POD_IDENTITY_AUTHORITY_HOST']}/metadata/identity/oauth2/token",
        params={"api-version": "2018-02-01", "resource": "https://graph.microsoft.com"},
        headers={"Metadata": "true"},
        timeout=10,
    )
    bearer = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    url = f"{found['url']}/v1.0/security/alerts_v2?$top=1"
    assert requests.get(url, headers=bearer, verify=found["ca_path"], timeout=10).status_code == 200
