# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo's own parts; what it shows is tested in tests/integration/test_demo.py."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info < (3, 11):
    pytest.skip("the tools need Python 3.11", allow_module_level=True)

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tools"))

import demo
from common import ToolError

WHO = {"WDATP_TENANT_ID": "contoso.example", "WDATP_CLIENT_ID": "22be4277-8f4b-50c8-b395-b66cbac635fb"}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in list(os.environ):
        if name.startswith(("WDATP_", "AZURE_")):
            monkeypatch.delenv(name)
    return monkeypatch


def _set(environment: pytest.MonkeyPatch, values: dict[str, str]) -> None:
    for name, value in values.items():
        environment.setenv(name, value)


@pytest.mark.parametrize("values", [{}, {"WDATP_TENANT_ID": ""}, {"WDATP_API": "mde_alerts"}])
def test_without_a_tenant_there_is_the_mock(environment: pytest.MonkeyPatch, values: dict[str, str]) -> None:
    _set(environment, values)
    assert demo._real_tenant() == {}


@pytest.mark.parametrize(
    "values",
    [
        {**WHO, "WDATP_CLIENT_SECRET": "x"},
        {**WHO, "WDATP_CLIENT_CERTIFICATE_PATH": "/x.pem"},
        {**WHO, "AZURE_FEDERATED_TOKEN_FILE": "/x"},
        {"WDATP_TENANT_ID": "contoso.example", "WDATP_AUTH_METHOD": "managed_identity"},
    ],
)
def test_a_whole_tenant_is_asked(environment: pytest.MonkeyPatch, values: dict[str, str]) -> None:
    _set(environment, values | {"WDATP_CLOUD": "gcc"})
    assert demo._real_tenant() == values | {"WDATP_CLOUD": "gcc"}


@pytest.mark.parametrize("values", [WHO, {"WDATP_CLIENT_SECRET": "x"}, {"WDATP_TENANT_ID": "contoso.example"}])
def test_half_a_tenant_is_an_error(environment: pytest.MonkeyPatch, values: dict[str, str]) -> None:
    """Whoever means a tenant of their own must not be shown invented alerts."""
    _set(environment, values)
    with pytest.raises(ToolError, match="not set"):
        demo._real_tenant()


def test_a_tenant_s_name_becomes_one_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(demo, "DEMO", tmp_path)
    before = os.umask(0)
    try:
        home = demo._home({"WDATP_TENANT_ID": "../../x y"})
    finally:
        os.umask(before)
    assert home.parent == tmp_path
    assert home.stat().st_mode & 0o777 == 0o700


def test_the_step_that_failed_is_named(tmp_path: Path) -> None:
    log = tmp_path / "ansible.log"
    log.write_text("1 TASK [First] ***\n2 ok: [localhost]\n3 TASK [Second] ***\n4 fatal: [localhost]: FAILED!\n")
    assert '"Second"' in demo._what_failed(log, 2)


def test_a_playbook_that_did_not_start_is_told_of(tmp_path: Path) -> None:
    assert "ended with 5" in demo._what_failed(tmp_path / "none", 5)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
def test_strays_are_ended() -> None:
    """In a session of its own, ignoring SIGTERM, as far away as can be."""
    script = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, demo._MARK: demo._RUN},
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout and process.stdout.readline()
    demo._end_strays()
    assert process.wait(10) == -signal.SIGKILL
    process.stdout.close()
