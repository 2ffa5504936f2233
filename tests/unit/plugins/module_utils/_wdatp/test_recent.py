# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The newest events of a window, for people: newest first, as many as fit, of all tenants together."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp.clouds import APIS
from ansible_collections.secops.defender.plugins.module_utils._wdatp.errors import ApiError, AuthError, OptionError
from ansible_collections.secops.defender.plugins.module_utils._wdatp.page import value_of
from ansible_collections.secops.defender.plugins.module_utils._wdatp.pull import Context
from ansible_collections.secops.defender.plugins.module_utils._wdatp.recent import recent
from ansible_collections.secops.defender.plugins.module_utils._wdatp.times import parse_time
from mock_api import MockTenant, TenantConfig

TIMES = {
    "graph_alerts": "lastUpdateDateTime",
    "graph_incidents": "lastUpdateDateTime",
    "mde_alerts": "lastUpdateTime",
    "alert_exporter": "LastProcessedTimeUtc",
}
DATA: dict[str, Any] = {"alerts": 80, "span": "20h", "big_tie": 0}


@pytest.fixture(scope="module")
def running_tenant() -> Iterator[MockTenant]:
    with MockTenant(TenantConfig(tenants=2, **DATA)) as tenant:
        yield tenant


@pytest.fixture
def query(tenant: MockTenant, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """query(…) -> option values as the lookup has them."""
    tenant.configure(**DATA)

    def make(number: int = 0, **options: Any) -> dict[str, Any]:
        return {
            "tenant_id": tenant.tenants[number]["tenant_id"],
            "client_id": tenant.client_id,
            "client_secret": tenant.client_secret,
            "api_url": tenant.url,
            "authority_url": tenant.url,
            "ca_path": tenant.ca_path,
            "config_dir": str(tmp_path),
            "timeout": 10,
            "retries": 1,
            "since": "21h",
            "expand": True,
            "limit": 100,
            "max_bytes": 10_000_000,
            **options,
        }

    return make


def found(*queries: dict[str, Any]) -> list[dict[str, Any]]:
    return recent(queries, Context())


def newest(tenant: MockTenant, api: str, number: int = 0) -> list[tuple[int, bytes]]:
    """(ticks, bytes) of the truth, newest first."""
    rows = [(parse_time(time), raw) for _id, time, raw in tenant.alerts(api, tenant.tenants[number]["tenant_id"])]
    return sorted(rows, key=lambda row: -row[0])


def texts(events: list[Any]) -> list[str]:
    return sorted(json.dumps(event, sort_keys=True) for event in events)


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("limit", [1, 7, 500])
def test_newest_first_and_no_more_than_the_limit(
    tenant: MockTenant, query: Callable[..., dict[str, Any]], api: str, limit: int
) -> None:
    events = found(query(api=api, limit=limit))
    truth = newest(tenant, api)
    times = [parse_time(event[TIMES[api]]) for event in events]
    # Which of several at one moment stand at the border is nobody's promise.
    assert times == [ticks for ticks, _raw in truth[:limit]]
    assert set(texts(events)) <= set(texts([value_of(raw) for _ticks, raw in truth]))
    assert len(set(texts(events))) == len(events)


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(
    "fault", [{"shuffle": True}, {"clamp_top": 3}, {"duplicate_rows": 2}, {"ignore_orderby": True}], ids=str
)
def test_whatever_the_order_they_are_the_newest(
    tenant: MockTenant, query: Callable[..., dict[str, Any]], api: str, fault: dict[str, Any]
) -> None:
    tenant.configure(alerts=30)
    tenant.set_faults([{"match": {"leg": "api"}, "do": fault}])
    times = [parse_time(event[TIMES[api]]) for event in found(query(api=api, limit=4))]
    assert times == [ticks for ticks, _raw in newest(tenant, api)[:4]]


@pytest.mark.parametrize("api", ["graph_alerts", "mde_alerts"])
def test_more_ties_than_the_limit(tenant: MockTenant, query: Callable[..., dict[str, Any]], api: str) -> None:
    tenant.configure(alerts=30, big_tie=30)
    assert len(found(query(api=api, limit=9))) == 9


def test_the_window(tenant: MockTenant, query: Callable[..., dict[str, Any]]) -> None:
    truth = newest(tenant, "graph_alerts")
    since, until = value_of(truth[50][1]), value_of(truth[20][1])
    events = found(query(since=since["lastUpdateDateTime"], until=until["lastUpdateDateTime"]))
    expected = [raw for ticks, raw in truth if truth[50][0] <= ticks <= truth[20][0]]
    assert texts(events) == texts([value_of(raw) for raw in expected])


def test_an_empty_window(query: Callable[..., dict[str, Any]]) -> None:
    assert found(query(since="20d", until="19d")) == []


@pytest.mark.parametrize("api", APIS)
def test_severity(tenant: MockTenant, query: Callable[..., dict[str, Any]], api: str) -> None:
    name = "Severity" if api == "alert_exporter" else "severity"
    events = found(query(api=api, severity=["high"], limit=5))
    expected = [ticks for ticks, raw in newest(tenant, api) if value_of(raw)[name].lower() == "high"]
    assert all(event[name].lower() == "high" for event in events)
    assert [parse_time(event[TIMES[api]]) for event in events] == expected[:5]


def test_without_evidence(query: Callable[..., dict[str, Any]]) -> None:
    (with_evidence,) = found(query(api="mde_alerts", limit=1))
    (without,) = found(query(api="mde_alerts", limit=1, expand=False))
    assert with_evidence["evidence"]
    assert not without.get("evidence")


def test_max_bytes_keeps_the_newest(tenant: MockTenant, query: Callable[..., dict[str, Any]]) -> None:
    truth = newest(tenant, "graph_alerts")
    room = sum(len(raw) for _ticks, raw in truth[:3])
    assert len(found(query(max_bytes=room + 1))) in (3, 4)
    assert found(query(max_bytes=10)) == []


def test_tenants_are_merged_by_time(tenant: MockTenant, query: Callable[..., dict[str, Any]]) -> None:
    both = sorted(newest(tenant, "graph_alerts") + newest(tenant, "graph_alerts", 1), key=lambda row: -row[0])
    events = found(query(0, limit=25), query(1))
    assert [parse_time(event["lastUpdateDateTime"]) for event in events] == [ticks for ticks, _raw in both[:25]]
    assert {event["tenantId"] for event in events} == {entry["tenant_id"] for entry in tenant.tenants}


def test_a_tenant_in_error_is_an_error_and_no_half_answer(
    tenant: MockTenant, query: Callable[..., dict[str, Any]]
) -> None:
    tenant.configure(unconsented_tenants=[tenant.tenants[1]["tenant_id"]])
    with pytest.raises(AuthError):
        found(query(0), query(1))


def test_an_api_in_error_is_an_error(tenant: MockTenant, query: Callable[..., dict[str, Any]]) -> None:
    tenant.set_faults([{"match": {"leg": "api"}, "do": {"status": 403}}])
    with pytest.raises(ApiError) as caught:
        found(query())
    assert caught.value.code == "api.forbidden"


def test_an_alert_that_can_hardly_be_read_is_shown(tenant: MockTenant, query: Callable[..., dict[str, Any]]) -> None:
    row = '{"id":"\\ud800","n":1E400,"x":"\x01","lastUpdateDateTime":"2099-01-01T00:00:00Z"}'
    tenant.set_faults([{"match": {"leg": "api", "n": 1}, "do": {"body": '{"value":[' + row + "]}"}}])
    (event,) = found(query(limit=1))
    assert event["x"] == "\x01"
    assert event["n"] == "1E400"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"since": "yesterday"}, "since: 'yesterday'"),
        ({"until": "soon"}, "until: 'soon'"),
        ({"since": "15m", "until": "4h"}, "since (15m)"),
        ({"limit": 0}, "limit: 0"),
        ({"limit": -5}, "limit: -5"),
        ({"severity": ["critical"]}, "'critical'"),
    ],
    ids=str,
)
def test_nonsense_is_an_error(
    tenant: MockTenant, query: Callable[..., dict[str, Any]], options: dict[str, Any], text: str
) -> None:
    with pytest.raises(OptionError) as caught:
        found(query(**options))
    assert text in caught.value.message
    assert caught.value.remedy
    # Said before anything is asked.
    assert [entry for entry in tenant.requests if entry["leg"] not in ("token", "discovery")] == []
