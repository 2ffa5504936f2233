# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The staged test: each stage's success, each stage's failure, and that it ends there."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp import connectivity
from ansible_collections.secops.defender.plugins.module_utils._wdatp.config import Connection
from ansible_collections.secops.defender.plugins.module_utils._wdatp.connectivity import STAGES, Report
from ansible_collections.secops.defender.plugins.module_utils._wdatp.redact import Redactor, forms_of
from mock_api import MockTenant
from mock_api.proxy import MockProxy

Check = Callable[..., Report]


@pytest.fixture
def check(tenant: MockTenant, connection_to: Callable[..., Connection]) -> Check:
    """check(**options) -> the report; whatever it is, it holds no secret and has a sound form."""

    def run(**options: Any) -> Report:
        redactor = Redactor()
        connection = connection_to(**options)
        report = connectivity.test(connection, redactor)
        names = [stage.name for stage in report.stages]
        assert names == list(STAGES[: len(names)])
        assert all(stage.ok for stage in report.stages[:-1])
        assert report.reachable == report.stages[-1].ok == (report.error is None)
        assert not report.reachable or names == list(STAGES)
        assert all(stage.detail and bool(stage.remedy) != stage.ok for stage in report.stages)
        text = json.dumps(report.to_dict(), ensure_ascii=False) + str(report.error)
        for secret in (connection.identity.secret.read() if connection.identity.secret else "", "proxy s3cret"):
            assert not [form for form in forms_of(secret) if form in text]
        assert "eyJ" not in text
        return report

    return run


def failing(report: Report) -> tuple[str, str, str]:
    """(stage, its detail, the error's code)"""
    assert report.error is not None
    return report.stages[-1].name, report.stages[-1].detail, report.error.code


# --- all is well -----------------------------------------------------------------------------------------------------


def test_the_result_has_the_form_that_users_build_on(tenant: MockTenant, check: Check) -> None:
    result = check(organization="Contoso").to_dict()
    assert set(result) == {
        *(
            "reachable",
            "stages",
            "token_roles",
            "token_expires_in",
            "clock_skew_seconds",
            "host",
            "api",
            "organization",
        ),
        *("secret_expires", "secret_days_left"),
    }
    assert all(set(stage) == {"name", "ok", "ms", "detail", "remedy"} for stage in result["stages"])
    assert all(isinstance(stage["ms"], int) for stage in result["stages"])
    assert result["reachable"] is True
    assert result["token_roles"] == ["SecurityAlert.Read.All", "SecurityIncident.Read.All"]
    assert 3500 < result["token_expires_in"] <= 3599
    assert abs(result["clock_skew_seconds"]) <= 1
    assert (result["host"], result["api"], result["organization"]) == (tenant.url[8:], "graph_alerts", "Contoso")


@pytest.mark.parametrize("api", ["graph_alerts", "graph_incidents", "mde_alerts", "alert_exporter"])
def test_every_api_is_really_asked_for_one_event(tenant: MockTenant, check: Check, api: str) -> None:
    report = check(api=api)
    assert report.reachable
    asked = [entry for entry in tenant.requests if entry["leg"] not in ("token", "discovery")]
    assert [(entry["leg"], entry["query"].get("$top", entry["query"].get("limit"))) for entry in asked] == [(api, "1")]
    assert "answered 200 with the newest event of the last day" in report.stages[-1].detail
    assert bool(report.warning) == (api in ("mde_alerts", "alert_exporter"))


def test_no_event_is_an_answer_too(tenant: MockTenant, check: Check) -> None:
    tenant.set_faults([{"match": {"leg": "api"}, "do": {"body": {"value": []}}}])
    assert "no event of the last day" in check().stages[-1].detail


@pytest.mark.parametrize("method", ["certificate", "workload_identity"])
def test_other_methods(tenant: MockTenant, check: Check, method: str) -> None:
    given = {
        "certificate": {"client_certificate_path": tenant.client_certificate_path},
        "workload_identity": {"federated_token_file": tenant.federated_token_file},
    }[method]
    assert check(client_secret=None, **given).reachable


def test_it_is_quick(tenant: MockTenant, check: Check) -> None:
    started = time.monotonic()
    assert check().reachable
    assert time.monotonic() - started < 2
    assert len(tenant.requests) == 3


# --- the network -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("option", "label"), [("api_url", "API host"), ("authority_url", "Login host")])
def test_a_name_that_dns_does_not_know(check: Check, option: str, label: str) -> None:
    stage, detail, code = failing(check(**{option: "https://host.invalid"}))
    assert (stage, code) == ("resolve", "network.dns")
    assert detail == f"{label}: The host name host.invalid is not known to DNS here."


def test_a_name_that_no_dns_can_know(check: Check) -> None:
    assert failing(check(api_url=f"https://{'x' * 70}.example"))[::2] == ("resolve", "network.dns")


@pytest.mark.parametrize(("option", "label"), [("api_url", "API host"), ("authority_url", "Login host")])
def test_a_port_where_nothing_listens(check: Check, option: str, label: str) -> None:
    stage, detail, code = failing(check(**{option: "https://127.0.0.1:1"}))
    assert (stage, code) == ("connect", "network.refused")
    assert detail == f"{label}: 127.0.0.1:1 refused the connection."


@pytest.fixture
def full_port() -> Iterator[str]:
    """A port whose queue is full: no connection comes about, and none is refused."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        waiting = []
        for _number in range(3):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(server.getsockname())
            waiting.append(client)
        yield f"https://127.0.0.1:{server.getsockname()[1]}"
        for client in waiting:
            client.close()


def test_a_host_that_does_not_answer(check: Check, full_port: str) -> None:
    started = time.monotonic()
    stage, detail, code = failing(check(api_url=full_port, timeout=1))
    assert (stage, code) == ("connect", "network.timeout")
    assert full_port[8:] in detail
    assert time.monotonic() - started < 4


@pytest.mark.parametrize(
    ("certificate", "code", "words"),
    [
        ("expired", "network.tls_expired", "signed by CN=mock tenant CA, expired"),
        ("self_signed", "network.tls_untrusted", "signed by CN=mock tenant, good for"),
        ("wrong_name", "network.tls_name", "for wrong.example"),
    ],
)
def test_a_certificate_that_is_refused_is_shown(
    tenant: MockTenant, check: Check, certificate: str, code: str, words: str
) -> None:
    tenant.configure(server_certificate=certificate)
    stage, detail, found = failing(check())
    assert (stage, found) == ("tls", code)
    assert words in detail


def test_what_was_trusted_is_said(
    tenant: MockTenant, check: Check, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import certifi

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certifi.where())
    assert check().reachable
    report = check(ca_path=None)
    assert failing(report)[0] == "tls"
    assert f"REQUESTS_CA_BUNDLE ({certifi.where()})" in report.stages[-1].remedy
    (tmp_path / "ca.pem").write_text("nothing", encoding="ascii")
    report = check(ca_path=str(tmp_path / "ca.pem"))
    assert failing(report)[::2] == ("tls", "network.ca_path")
    assert str(tmp_path / "ca.pem") in report.stages[-1].detail


def test_a_directory_of_certificates(tenant: MockTenant, check: Check, tmp_path: Path) -> None:
    """As requests takes one, too: names are hashes (c_rehash), and without them nothing is trusted."""
    assert failing(check(ca_path=str(tmp_path)))[::2] == ("tls", "network.tls_untrusted")


def test_no_check_is_said(tenant: MockTenant, check: Check) -> None:
    tenant.configure(server_certificate="self_signed")
    report = check(ca_path=None, validate_certs=False)
    assert report.reachable
    assert "NOT CHECKED" in report.stages[2].detail


# --- proxies ---------------------------------------------------------------------------------------------------------


def test_the_way_leads_through_the_proxy(tenant: MockTenant, check: Check) -> None:
    with MockProxy("user", "proxy s3cret") as proxy:
        report = check(proxy=proxy.url)
        assert report.reachable
        assert f"proxy {proxy.address}" in report.stages[0].detail
        assert f"proxy {proxy.address}" in report.stages[1].detail
        assert "CN=mock tenant" in report.stages[2].detail
        # Not one connection went past it.
        assert {entry["target"] for entry in proxy.tunnels} == {tenant.url[8:]}
        assert {entry["user"] for entry in proxy.tunnels} == {"user"}


def test_the_proxy_of_the_environment(tenant: MockTenant, check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    with MockProxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        assert check().reachable
        assert len(proxy.tunnels) >= 2
        proxy.clear()
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert check().reachable
        assert proxy.tunnels == []


def test_real_names_through_a_proxy(tenant: MockTenant, check: Check) -> None:
    """Only the proxy knows the names; this host need not."""
    with MockProxy(route_to=tenant.url) as proxy:
        report = check(api_url=None, authority_url=None, proxy=proxy.url)
        assert report.reachable
        assert report.host == "graph.microsoft.com"
        targets = {entry["target"] for entry in proxy.tunnels}
        assert targets == {"login.microsoftonline.com:443", "graph.microsoft.com:443"}
        assert "login host login.microsoftonline.com" in report.stages[2].detail
        assert "API host graph.microsoft.com" in report.stages[2].detail


@pytest.mark.parametrize(
    ("mode", "code", "words"),
    [
        ("forbidden", "network.proxy", "(403)"),
        ("negotiate", "network.proxy_auth", "(407)"),
        ("login_page", "network.tls", "through the proxy"),
    ],
)
def test_a_proxy_in_the_way(check: Check, mode: str, code: str, words: str) -> None:
    with MockProxy(mode=mode) as proxy:
        stage, detail, found = failing(check(proxy=proxy.url))
        assert (stage, found) == ("tls", code)
        assert words in detail
        assert proxy.address in detail


def test_a_silent_proxy(check: Check) -> None:
    started = time.monotonic()
    with MockProxy(mode="silent") as proxy:
        stage, detail, code = failing(check(proxy=proxy.url, timeout=1))
        assert (stage, code) == ("tls", "network.proxy")
        assert proxy.address in detail
    assert time.monotonic() - started < 4


@pytest.mark.parametrize(("address", "stage"), [("127.0.0.1:1", "connect"), ("proxy.invalid:3128", "resolve")])
def test_a_proxy_that_is_not_there(check: Check, address: str, stage: str) -> None:
    found, detail, code = failing(check(proxy=f"http://user:proxy%20s3cret@{address}"))
    assert (found, code) == (stage, "network.proxy")
    assert f"The proxy {address} can't be reached" in detail


# --- Microsoft -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("skew", "words"), [(1000, "1000 s behind"), (-1000, "1000 s ahead of"), (0, "is right")])
def test_the_clock_is_compared(tenant: MockTenant, check: Check, skew: int, words: str) -> None:
    tenant.configure(clock_skew_seconds=skew)
    report = check()
    assert report.reachable
    assert words in report.stages[3].detail.replace("999", "1000").replace("1001", "1000")
    assert abs(report.clock_skew_seconds + skew) <= 1


@pytest.mark.parametrize(("skew", "passes"), [(200, True), (400, False), (-400, False)])
def test_a_certificate_needs_a_good_clock(tenant: MockTenant, check: Check, skew: int, passes: bool) -> None:
    tenant.configure(clock_skew_seconds=skew)
    report = check(client_secret=None, client_certificate_path=tenant.client_certificate_path)
    assert report.reachable == passes
    if not passes:
        assert failing(report)[::2] == ("clock", "auth.clock")
        assert "clock" in report.stages[-1].remedy


def test_a_refused_token(tenant: MockTenant, check: Check) -> None:
    stage, detail, code = failing(check(client_secret="not-the-secret-1"))
    assert (stage, code) == ("token", "auth.invalid_secret")
    assert "AADSTS7000215" in detail
    report = check(tenant_id="00000000-1111-2222-3333-444444444444")
    assert failing(report)[::2] == ("token", "auth.unknown_tenant")
    assert (report.token_roles, report.token_expires_in) == ([], None)


def test_a_missing_certificate_file(tenant: MockTenant, check: Check, tmp_path: Path) -> None:
    stage, detail, code = failing(check(client_secret=None, client_certificate_path=str(tmp_path / "gone.pem")))
    assert (stage, code) == ("token", "credential.certificate")
    assert str(tmp_path / "gone.pem") in detail


@pytest.mark.parametrize(
    ("api", "roles", "words"),
    [
        ("graph_alerts", {"graph": ["Alert.Read.All"]}, "has Alert.Read.All, needs SecurityAlert.Read.All"),
        ("graph_incidents", {"graph": []}, "has no roles, needs SecurityIncident.Read.All"),
        ("mde_alerts", {"mde": ["Machine.Read.All"]}, "has Machine.Read.All, needs Alert.Read.All"),
    ],
)
def test_missing_permissions(tenant: MockTenant, check: Check, api: str, roles: dict[str, Any], words: str) -> None:
    tenant.configure(roles=roles)
    stage, detail, code = failing(check(api=api))
    assert (stage, code) == ("permissions", "api.forbidden")
    assert words in detail


def test_the_larger_permission_will_do(tenant: MockTenant, check: Check) -> None:
    tenant.configure(roles={"mde": ["Alert.ReadWrite.All"]})
    assert check(api="mde_alerts").reachable


def test_an_opaque_token_passes_with_a_word(tenant: MockTenant, check: Check) -> None:
    do = {"body": {"access_token": "opaque-token-1", "expires_in": 3599, "token_type": "Bearer"}}
    tenant.set_faults([{"match": {"leg": "token"}, "do": do}])
    report = check()
    assert "can't be read here" in report.stages[5].detail
    assert failing(report)[::2] == ("query", "api.unauthorized")


@pytest.mark.parametrize(
    ("do", "code"),
    [
        ({"html_200": True}, "network."),
        ({"status": 404}, "api.not_found"),
        ({"status": 429, "retry_after": 200}, "api.throttled"),
        ({"status": 302, "body": "", "headers": {"Location": "https://x.example"}}, "api.redirect"),
        ({"truncate": 10}, "network.broken"),
    ],
)
def test_a_query_that_fails(tenant: MockTenant, check: Check, do: dict[str, Any], code: str) -> None:
    tenant.set_faults([{"match": {"leg": "api"}, "do": do}])
    started = time.monotonic()
    stage, _detail, found = failing(check())
    assert stage == "query"
    assert found.startswith(code)
    assert time.monotonic() - started < 3


def test_one_retry_and_no_more(tenant: MockTenant, check: Check) -> None:
    tenant.set_faults([{"match": {"leg": "api"}, "do": {"status": 503}}])
    assert failing(check(retries=5))[2] == "api.unavailable"
    assert len([entry for entry in tenant.requests if entry["status"] == 503]) == 2


def test_managed_identity_asks_no_login_host(tenant: MockTenant, check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDENTITY_ENDPOINT", "http://127.0.0.1:1/token")
    monkeypatch.setenv("IDENTITY_HEADER", "x")
    report = check(auth_method="managed_identity", client_secret=None, authority_url="https://login.invalid")
    stage, _detail, code = failing(report)
    assert (stage, code in ("auth.managed_identity", "auth.msal_too_old")) == ("token", True)
    assert report.clock_skew_seconds in (-1, 0, 1)


# --- how long it lasts -----------------------------------------------------------------------------------------------


def test_days_that_a_certificate_has_left(tenant: MockTenant, check: Check) -> None:
    result = check(client_secret=None, client_certificate_path=tenant.client_certificate_path).to_dict()
    assert result["secret_days_left"] in (29, 30)
    assert str(result["secret_expires"]).startswith("20")


def test_of_a_secret_nobody_knows_when_it_ends(check: Check) -> None:
    result = check().to_dict()
    assert (result["secret_expires"], result["secret_days_left"]) == (None, None)
