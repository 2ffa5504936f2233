# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""wdatp_test_connectivity as users run it: the stages, in the order of the contract, against a mock tenant."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness import PlaybookRunner, TaskResult
from mock_api import MockTenant
from mock_api.proxy import MockProxy

STAGES = ["resolve", "connect", "tls", "clock", "token", "permissions", "query"]


@pytest.fixture
def check(run_playbook: PlaybookRunner, mock: MockTenant) -> Callable[..., TaskResult]:
    """check(**options) -> the task's result; `_env` and `_mode` are for the playbook."""

    def run(_env: dict[str, str] | None = None, _check: bool = False, **options: Any) -> TaskResult:
        known = {
            **mock.options,
        }
        given = {name: value for name, value in {**known, **options}.items() if value is not None}
        task = {"name": "Test", "secops.defender.wdatp_test_connectivity": given}
        return run_playbook([task], _env, check=_check)["Test"]

    return run


def names(task: TaskResult) -> list[str]:
    return [stage["name"] for stage in task.result["stages"]]


@pytest.mark.parametrize("mode", [False, True])
def test_all_stages_pass(mock: MockTenant, check: Callable[..., TaskResult], mode: bool) -> None:
    task = check(_check=mode, organization="Contoso")
    assert task.status == "ok"
    assert names(task) == STAGES
    assert all(stage["ok"] and stage["remedy"] == "" for stage in task.result["stages"])
    assert task.result["reachable"] is True
    assert task.result["changed"] is False
    assert task.result["token_roles"] == ["SecurityAlert.Read.All", "SecurityIncident.Read.All"]
    assert 3000 < task.result["token_expires_in"] <= 3599
    assert task.result["clock_skew_seconds"] in (-1, 0, 1)
    assert task.result["host"] == mock.url[8:]
    assert (task.result["api"], task.result["organization"]) == ("graph_alerts", "Contoso")


def test_the_identity_may_come_from_the_environment(mock: MockTenant, check: Callable[..., TaskResult]) -> None:
    environment = {
        "WDATP_TENANT_ID": mock.tenant_id,
        "WDATP_CLIENT_ID": mock.client_id,
        "WDATP_CLIENT_SECRET": mock.client_secret,
        "WDATP_API_URL": mock.url,
        "WDATP_AUTHORITY_URL": mock.url,
        "WDATP_CA_PATH": mock.ca_path,
        "WDATP_API": "mde_alerts",
    }
    nothing = dict.fromkeys(("tenant_id", "client_id", "client_secret", "api_url", "authority_url", "ca_path"))
    task = check(_env=environment, **nothing)
    assert task.result["reachable"] is True
    assert task.result["api"] == "mde_alerts"
    # The API is on its way out, and the user is told.
    assert any("graph_alerts" in str(text) for text in task.result["warnings"])


def test_a_certificate(mock: MockTenant, check: Callable[..., TaskResult]) -> None:
    pfx, password = mock.client_certificate_pfx_path, mock.client_certificate_password
    task = check(client_secret=None, client_certificate_path=pfx, client_certificate_password=password)
    assert task.result["reachable"] is True
    assert password not in str(task.result)


def test_a_workloads_token(mock: MockTenant, check: Callable[..., TaskResult]) -> None:
    environment = {"AZURE_FEDERATED_TOKEN_FILE": mock.federated_token_file}
    assert check(_env=environment, client_secret=None).result["reachable"] is True


def test_real_names_through_a_proxy_of_the_environment(mock: MockTenant, check: Callable[..., TaskResult]) -> None:
    with MockProxy("user", "pr0xy p@ss", route_to=mock.url) as proxy:
        task = check(_env={"HTTPS_PROXY": proxy.url}, api_url=None, authority_url=None, host="graph.microsoft.com")
        assert task.result["reachable"] is True
        assert task.result["host"] == "graph.microsoft.com"
        assert {entry["target"] for entry in proxy.tunnels} == {
            "login.microsoftonline.com:443",
            "graph.microsoft.com:443",
        }


def test_our_ca_wins_and_netrc_and_redirects_lead_nowhere(
    mock: MockTenant, check: Callable[..., TaskResult], tmp_path: Path
) -> None:
    import certifi

    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password else\n", encoding="ascii")
    netrc.chmod(0o600)
    environment = {"REQUESTS_CA_BUNDLE": certifi.where(), "CURL_CA_BUNDLE": certifi.where(), "NETRC": str(netrc)}
    assert check(_env=environment).result["reachable"] is True
    mock.clear_requests()
    do = {"status": 302, "body": "", "headers": {"Location": f"{mock.url}/stolen"}}
    mock.set_faults([{"match": {"leg": "api"}, "do": do}])
    assert check(_env=environment).result["error"]["code"] == "api.redirect"
    mock.set_faults([{"match": {"leg": "token"}, "do": do}])
    assert check(_env=environment).result["error"]["code"] == "network.not_entra"
    assert not [entry for entry in mock.requests if entry["path"] == "/stolen"]


def test_a_failing_stage_fails_the_task_unless_told_otherwise(check: Callable[..., TaskResult]) -> None:
    failed = check(client_secret="not-the-secret-1")
    assert failed.status == "failed"
    assert names(failed) == STAGES[:5]
    last = failed.result["stages"][-1]
    assert (last["ok"], failed.msg) == (False, f"{last['detail']} {last['remedy']}")
    assert failed.result["error"] == {
        "code": "auth.invalid_secret",
        "message": last["detail"],
        "remedy": last["remedy"],
    }
    going_on = check(client_secret="not-the-secret-1", fail_on_error=False)
    assert (going_on.status, going_on.result["reachable"]) == ("ok", False)
    assert names(going_on) == STAGES[:5]


def test_a_credential_of_several_tenants_needs_an_organization(
    run_playbook: PlaybookRunner, make_mock: Callable[..., MockTenant], config_dir: Path
) -> None:
    mock = make_mock(alerts=20, tenants=2)
    first, second = (entry["tenant_id"] for entry in mock.tenants)
    stored = {
        "name": "msp",
        "client_id": mock.client_id,
        "client_secret": mock.client_secret,
        "tenants": [
            {"tenant_id": first, "organization": "Contoso"},
            {"tenant_id": second, "organization": "Fabrikam"},
        ],
        "hosts": ["wdatp-alertexporter-us.windows.com"],
        "config_dir": str(config_dir),
        "api_url": mock.url,
        "authority_url": mock.url,
        "ca_path": mock.ca_path,
    }
    by_name = {"credential": "msp", "config_dir": str(config_dir)}
    by_host = {"host": "wdatp-alertexporter-us.windows.com", "config_dir": str(config_dir)}
    result = run_playbook(
        [
            {"name": "Store", "secops.defender.wdatp_credential": stored},
            {"name": "All", "secops.defender.wdatp_test_connectivity": by_name, "ignore_errors": True},
            {"name": "One", "secops.defender.wdatp_test_connectivity": {**by_name, "organization": "Fabrikam"}},
            {"name": "Host", "secops.defender.wdatp_test_connectivity": {**by_host, "organization": "contoso"}},
            {"name": "Host only", "secops.defender.wdatp_test_connectivity": by_host, "ignore_errors": True},
        ]
    ).ok()
    for name in ("All", "Host only"):
        assert result[name].result["error"]["code"] == "option.ambiguous"
        assert all(text in result[name].msg for text in ("Contoso", "Fabrikam", first, second, "organization"))
    assert (result["One"].result["reachable"], result["One"].result["organization"]) == (True, "Fabrikam")
    assert result["Host"].result["reachable"] is True
    assert result["Host"].result["api"] == "alert_exporter"
