# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Alerts that come late, and alerts that can't be read: whole pulls against the mock tenant."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp.pull import Context, pull
from ansible_collections.secops.defender.plugins.module_utils._wdatp.pulloptions import pull_options
from ansible_collections.secops.defender.plugins.module_utils._wdatp.times import DAY, HOUR, MINUTE
from mock_api import MockTenant, TenantConfig

Pull = Callable[..., "dict[str, Any]"]
APIS = ("graph_alerts", "graph_incidents", "mde_alerts", "alert_exporter")


@pytest.fixture
def tenant(clean_environment: None) -> Iterator[MockTenant]:
    with MockTenant(TenantConfig(alerts=600, span="23h")) as running:
        yield running


@pytest.fixture
def pulled(tenant: MockTenant, tmp_path: Path) -> Pull:
    """pulled(api="mde_alerts", …) -> the result of one more pull; its warnings are in `said`."""
    known = {
        "tenant_id": tenant.tenant_id,
        "client_id": tenant.client_id,
        "client_secret": tenant.client_secret,
        "api_url": tenant.url,
        "authority_url": tenant.url,
        "ca_path": tenant.ca_path,
        "state_dir": str(tmp_path / "state"),
        "config_dir": str(tmp_path / "etc"),
        "retries": 1,
    }

    def run(**options: Any) -> dict[str, Any]:
        said: list[str] = []
        report = pull({**known, **options}, Context(warn=said.append))
        assert report.failure() is None
        return {**report.to_dict(), "said": said}

    return run


def lines(tmp_path: Path) -> list[bytes]:
    return (tmp_path / "state" / "events.jsonl").read_bytes().splitlines()


@pytest.mark.parametrize("api", APIS)
def test_bad_alert_is_put_aside_and_fetched_once_it_can_be_read(
    api: str, tenant: MockTenant, pulled: Pull, tmp_path: Path
) -> None:
    truth = list(tenant.alerts(api))
    name = truth[len(truth) // 2][0].split(":")[0]
    tenant.set_faults([{"match": {"leg": "api"}, "do": {"poison": name}}])

    first = pulled(api=api)
    assert (first["complete"], first["new"] < len(truth)) == (False, True)
    assert first["quarantined"] >= 1
    assert any("put aside" in text for text in first["said"])
    hidden = len(truth) - first["new"]

    second = pulled(api=api)
    assert (second["complete"], second["written"], second["quarantined"]) == (False, 0, first["quarantined"])
    # What is known to be bad is asked for alone; the way to it is not searched again.
    assert second["requests"] < 20

    tenant.set_faults([])
    third = pulled(api=api)
    assert (third["complete"], third["written"], third["quarantined"]) == (True, hidden, 0)
    assert sorted(lines(tmp_path)) == sorted(raw for _name, _time, raw in truth)


def test_outage_is_no_bad_slice(tenant: MockTenant, pulled: Pull) -> None:
    tenant.set_faults([{"match": {"leg": "api"}, "do": {"status": 503, "retry_after": 0}}])
    with pytest.raises(AssertionError):
        pulled()
    tenant.set_faults([])
    assert pulled()["quarantined"] == 0


def test_check_mode_puts_nothing_aside(tenant: MockTenant, pulled: Pull, tmp_path: Path) -> None:
    name = next(iter(tenant.alerts()))[0]
    tenant.set_faults([{"match": {"leg": "api"}, "do": {"poison": name}}])
    assert pulled(max_events=1)["written"] == 1
    # The store exists now; a look at it changes nothing.
    before = sorted((path.name, path.read_bytes()) for path in (tmp_path / "state").iterdir())
    options = {"state_dir": str(tmp_path / "state"), "config_dir": str(tmp_path / "etc"), "retries": 1}
    identity = {"tenant_id": tenant.tenant_id, "client_id": tenant.client_id, "client_secret": tenant.client_secret}
    target = {"api_url": tenant.url, "authority_url": tenant.url, "ca_path": tenant.ca_path}
    pull({**options, **identity, **target}, Context(check_mode=True))
    assert sorted((path.name, path.read_bytes()) for path in (tmp_path / "state").iterdir()) == before


@pytest.mark.parametrize(
    ("overlap", "lateness", "expected"),
    [
        ("auto", 0, 30 * MINUTE),
        ("auto", 10 * MINUTE, 30 * MINUTE),
        ("auto", 25 * MINUTE, 50 * MINUTE),
        ("auto", 20 * HOUR, DAY),
        ("5m", 20 * HOUR, 5 * MINUTE),
    ],
)
def test_overlap_is_twice_the_lateness_within_bounds(overlap: str, lateness: int, expected: int) -> None:
    assert pull_options({"state_dir": "/x", "overlap": overlap}).overlap_for(lateness) == expected


def test_overlap_learns_how_late_alerts_come(tenant: MockTenant, pulled: Pull) -> None:
    pulled()
    tenant.add_alerts(1, late_seconds=29 * 60)
    assert pulled()["new"] == 1
    # Half an hour would miss this one; twice the lateness that was seen finds it.
    tenant.add_alerts(1, late_seconds=50 * 60)
    assert pulled()["new"] == 1
    tenant.add_alerts(1, late_seconds=99 * 60)
    assert pulled()["new"] == 1
    # A fixed overlap stays as it is.
    tenant.add_alerts(1, late_seconds=40 * 60)
    assert pulled(overlap="30m")["new"] == 0
    assert pulled()["new"] == 1


def test_what_is_read_on_purpose_teaches_nothing(tenant: MockTenant, pulled: Pull) -> None:
    pulled(initial_lookback="1h")
    assert pulled(since="12h")["new"] > 0
    tenant.add_alerts(1, late_seconds=40 * 60)
    assert pulled()["new"] == 0


def test_destination_that_is_added_begins_with_what_comes_from_then_on(
    tenant: MockTenant, pulled: Pull, tmp_path: Path
) -> None:
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    pulled(destinations=[{"path": str(first)}])
    known = first.read_bytes()
    tenant.add_alerts(3)
    both = pulled(destinations=[{"path": str(second)}, {"path": str(first)}])
    # The job is the same: nothing comes twice to the first file.
    assert (both["new"], both["written"]) == (3, 3)
    assert first.read_bytes() == known + second.read_bytes()
    assert len(second.read_bytes().splitlines()) == 3


def test_destination_that_is_taken_away_is_not_waited_for(tenant: MockTenant, pulled: Pull, tmp_path: Path) -> None:
    first, second = tmp_path / "first.jsonl", tmp_path / "missing" / "second.jsonl"
    with pytest.raises(AssertionError):
        pulled(destinations=[{"path": str(first)}, {"path": str(second)}])
    alone = pulled(destinations=[{"path": str(first)}])
    assert (alone["new"], alone["pending"]) == (0, 0)
    assert [text for text in alone["said"] if "second.jsonl is no destination any more" in text]


def test_files_of_their_own_have_everything_each(tenant: MockTenant, pulled: Pull, tmp_path: Path) -> None:
    paths = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    assert [pulled(destinations=[{"path": str(path)}])["written"] for path in paths] == [600, 600]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_tenant_is_the_same_by_its_domain_name(tenant: MockTenant, pulled: Pull) -> None:
    assert pulled()["written"] == 600
    assert pulled(tenant_id=tenant.tenants[0]["domain"])["written"] == 0


def test_state_directory_may_be_moved(tenant: MockTenant, pulled: Pull, tmp_path: Path) -> None:
    pulled()
    (tmp_path / "state").rename(tmp_path / "elsewhere")
    tenant.add_alerts(2)
    moved = pulled(state_dir=str(tmp_path / "elsewhere"))
    assert (moved["new"], moved["written"]) == (2, 2)
    assert len((tmp_path / "elsewhere" / "events.jsonl").read_bytes().splitlines()) == 602
