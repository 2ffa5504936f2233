# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests steer the mock with: the log of requests, the control endpoint, the knobs."""

from __future__ import annotations

import json
import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import requests
from mock_api import MockTenant, TenantConfig
from mock_api.config import CHOICES, DATA_KNOBS
from mock_client import Client, serve


def call(tenant: MockTenant, method: str, name: str, body: Any = None) -> Any:
    response = requests.request(method, f"{tenant.control_url}/{name}", json=body, verify=tenant.ca_path, timeout=10)
    assert response.status_code == 200, response.text
    return response.json()


def refused(tenant: MockTenant, method: str, name: str, body: Any = None, status: int = 400) -> str:
    response = requests.request(method, f"{tenant.control_url}/{name}", json=body, verify=tenant.ca_path, timeout=10)
    assert response.status_code == status, response.text
    return str(response.json()["error"])


def test_the_log_has_what_tests_need(tenant: MockTenant) -> None:
    client = Client(tenant)
    client.ask_token()
    query = "$top=5&$filter=lastUpdateDateTime%20ge+2020-01-01T00:00:00Z"
    response = client.get("graph_alerts", query, client_request_id="11111111-2222", User_Agent="collector/1")
    assert response.headers["client-request-id"] == "11111111-2222"
    client.get("alert_exporter", "ago=PT1H&machinegroups=A&machinegroups=B")
    client.get("mde_alerts", "$filter=x")
    token, graph, exporter, mde = tenant.requests
    assert (token["leg"], token["method"], token["status"]) == ("token", "POST", 200)
    assert token["path"] == f"/{tenant.tenant_id}/oauth2/v2.0/token"
    assert token["form"] == {
        "grant_type": "client_credentials",
        "client_id": tenant.client_id,
        "scope": "https://graph.microsoft.com/.default",
    }
    assert (graph["leg"], graph["status"], graph["tenant_id"]) == ("graph_alerts", 200, tenant.tenant_id)
    assert graph["query"] == {"$top": "5", "$filter": "lastUpdateDateTime ge 2020-01-01T00:00:00Z"}
    assert graph["raw_query"] == query
    assert graph["headers"]["User-Agent"] == "collector/1"
    assert graph["bytes"] == int(response.headers["Content-Length"])
    assert graph["ms"] > 0 and graph["time"] > 1e9
    assert exporter["raw_query"].count("machinegroups") == 2
    assert (mde["leg"], mde["status"]) == ("mde_alerts", 400)
    # One session, one connection.
    assert len({entry["connection"] for entry in tenant.requests}) == 1
    tenant.clear_requests()
    assert tenant.requests == []


def test_no_secret_in_the_log(tenant: MockTenant) -> None:
    client = Client(tenant)
    given = client.ask_token().json()["access_token"]
    client.ask_token(client_secret="a-wrong-secret")
    client.ask_token(client_secret="", client_assertion="an.assertion.here", client_assertion_type="x")
    client.get("graph_alerts", Authorization=f"Bearer {given}", Cookie="session=1")
    text = json.dumps(tenant.requests) + json.dumps(call(tenant, "GET", "requests"))
    secrets = (tenant.client_secret, given, given.split(".")[2], "a-wrong-secret", "an.assertion.here", "session=1")
    for secret in secrets:
        assert secret not in text


def test_the_control_endpoint(tenant: MockTenant) -> None:
    assert call(tenant, "GET", "ready") == tenant.describe()
    client = Client(tenant)
    client.ask_token()
    client.get("graph_alerts")
    stats = call(tenant, "GET", "stats")
    assert (stats["requests"], stats["tokens"]) == (2, 1)
    assert stats["by_leg"] == {"token": 1, "graph_alerts": 1}
    assert stats["by_status"] == {"200": 2}
    assert stats["alerts"] == {tenant.tenant_id: 120}
    assert [entry["leg"] for entry in call(tenant, "GET", "requests")] == ["token", "graph_alerts"]
    assert call(tenant, "DELETE", "requests") == {"requests": 0}
    added = call(tenant, "POST", "alerts", {"add": 3})["ids"]
    added += call(tenant, "POST", "alerts", {"add": 2, "late_seconds": 600})["ids"]
    added += call(tenant, "POST", "alerts", {"tie": True})["ids"]
    assert set(added) <= set(client.ids("graph_alerts"))
    assert call(tenant, "POST", "update", {"ids": added[:1]})["ids"] == added[:1]
    assert len(call(tenant, "POST", "update", {"n": 4})["ids"]) == 4
    assert call(tenant, "PUT", "faults", [{"do": {"status": 500}}]) == {"faults": 1}
    assert client.get("graph_alerts").status_code == 500
    # The control endpoint itself is never at fault.
    assert call(tenant, "GET", "faults")[0]["fired"] == 1
    assert call(tenant, "DELETE", "faults") == {"faults": 0}
    assert call(tenant, "PUT", "config", {"links": "off"})["links"] == "off"
    assert call(tenant, "GET", "config")["links"] == "off"
    assert len(client.ids("graph_alerts")) == 126


def test_the_control_endpoint_says_what_is_wrong(tenant: MockTenant) -> None:
    assert "there are: GET ready" in refused(tenant, "GET", "nonsense", status=404)
    assert "unknown knobs: colour" in refused(tenant, "PUT", "config", {"colour": "red"})
    assert "api is one of" in refused(tenant, "GET", "truth?api=graph")
    assert "no tenant" in refused(tenant, "POST", "alerts", {"tenant": "nobody.example"})
    assert "no such alerts" in refused(tenant, "POST", "update", {"ids": ["da0_0"]})
    assert "unknown words in a fault: bang" in refused(tenant, "PUT", "faults", [{"do": {"bang": 1}}])
    assert "TypeError" in refused(tenant, "POST", "alerts", {"loud": True})


@pytest.mark.parametrize(
    ("knobs", "text"),
    [
        ({"colour": "red"}, "unknown knobs: colour; known are alerts"),
        ({"links": "maybe"}, "links is one of on, off, not 'maybe'"),
        ({"layout": "wide"}, "layout is one of compact"),
        ({"alerts": -1}, "alerts is -1"),
        ({"ties": 0}, "ties is 0"),
        ({"incident_size": 0}, "incident_size is 0"),
        ({"recent_share": 2}, "recent_share is 2"),
        ({"alerts": 10**9, "span": "1s"}, "too short"),
        ({"span": "soon"}, "not a time span"),
        ({"end": "yesterday"}, "yesterday"),
        ({"page_limits": {"graph": 5}}, "unknown names in page_limits: graph"),
        ({"rate_limits": {"graph_alerts": [1, 1]}}, "unknown names in rate_limits"),
        ({"tenants": 0}, "at least one tenant"),
        ({"tenants": [{}, {"tenant_id": "x"}, {"tenant_id": "X"}]}, "tenant_id of its own"),
        ({"tenants": [{"secret": "x"}]}, "unknown knobs of a tenant: secret"),
        ({"alerts": "many"}, "wrong type"),
    ],
)
def test_knobs_that_make_no_sense(tenant: MockTenant, knobs: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        TenantConfig.read(knobs)
    before = vars(tenant.config).copy()
    with pytest.raises(ValueError, match=text):
        tenant.configure(**{"links": "off", **knobs})
    # All of a change, or nothing.
    assert vars(tenant.config) == before


def test_a_bad_fault_or_certificate_changes_nothing(tenant: MockTenant) -> None:
    for bad in ({"faults": [{"do": {"bang": 1}}]}, {"certificates": ["no PEM"]}, {"keep_requests": 5}):
        with pytest.raises(ValueError, match=r"."):
            tenant.configure(links="off", alerts=7, **bad)
        assert (tenant.config.links, len(list(tenant.alerts()))) == ("on", 120)


def test_tenants_with_knobs_of_their_own() -> None:
    tenants = [{}, {"alerts": 3, "domain": "small.example"}, {"tenant_id": "0000", "alerts": 0}]
    with serve(alerts=9, tenants=tenants) as tenant:
        assert [entry["alerts"] for entry in tenant.tenants] == [9, 3, 0]
        assert tenant.tenants[2]["tenant_id"] == "0000"
        assert len(list(tenant.alerts(tenant="small.example"))) == 3
        assert Client(tenant, "0000").ids("graph_alerts") == []


def test_knobs_can_be_turned_while_it_runs(tenant: MockTenant) -> None:
    client = Client(tenant)
    tenant.add_alerts(5)
    tenant.configure(gzip=False)
    assert len(client.ids("graph_alerts")) == 125
    # A data knob makes the data anew.
    tenant.configure(alerts=30)
    assert len(client.ids("graph_alerts")) == 30
    tenant.configure(tenant_id="99999999-0000-0000-0000-000000000000")
    assert Client(tenant).ask_token("99999999-0000-0000-0000-000000000000").status_code == 200
    names = {item.name for item in fields(TenantConfig)}
    assert names >= DATA_KNOBS | set(CHOICES)


def test_files_are_private_and_gone_afterwards(tmp_path: Path) -> None:
    with serve(alerts=0) as tenant:
        names = sorted(os.listdir(tenant.directory))
        assert "ca.pem" in names and "client.pem" in names
        for name in names:
            mode = (tenant.directory / name).stat().st_mode & 0o777
            assert mode == (0o600 if name != "ca.pem" else mode)
    assert not tenant.directory.exists()
    with MockTenant(TenantConfig(alerts=0), tmp_path / "kept") as tenant:
        assert tenant.directory == tmp_path / "kept"
    assert (tmp_path / "kept" / "ca.pem").exists()


def test_a_taken_port_is_an_error_that_leaves_nothing(tenant: MockTenant) -> None:
    port = int(tenant.url.rsplit(":", 1)[1])
    second = MockTenant(TenantConfig(alerts=0), port=port)
    with pytest.raises(OSError, match="in use"):
        second.start()
    assert not second.directory.exists()
    second.stop()


def test_a_stopped_tenant_answers_no_more() -> None:
    with serve(alerts=1) as tenant:
        client = Client(tenant)
        assert client.get("graph_alerts").status_code == 200
    with pytest.raises((OSError, requests.exceptions.RequestException)):
        client.session.get(tenant.url, verify=False, timeout=5)


def test_a_bug_in_the_mock_is_told_from_a_fault(tenant: MockTenant, capsys: pytest.CaptureFixture[str]) -> None:
    del tenant.config.page_limits["graph_alerts"]
    response = Client(tenant).get("graph_alerts")
    assert (response.status_code, response.json()["error"][:30]) == (500, "the mock tenant itself failed:")
    assert "KeyError" in capsys.readouterr().err
