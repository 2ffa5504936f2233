# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check mode beside bad alerts, and jobs whose destinations change: whole pulls against the mock tenant."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp.pull import Context, pull
from mock_api import MockTenant, TenantConfig

Pull = Callable[..., "dict[str, Any]"]


@pytest.fixture
def tenant(clean_environment: None) -> Iterator[MockTenant]:
    with MockTenant(TenantConfig(alerts=600, span="23h")) as running:
        yield running


@pytest.fixture
def pulled(tenant: MockTenant, tmp_path: Path) -> Pull:
    """pulled(api="mde_alerts", …) -> the result of one more pull; its warnings are in `said`."""
    known = {
        **tenant.options,
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


def test_check_mode_puts_nothing_aside(tenant: MockTenant, pulled: Pull, tmp_path: Path) -> None:
    name = next(iter(tenant.alerts()))[0]
    tenant.set_faults([{"match": {"leg": "api"}, "do": {"poison": name}}])
    assert pulled(max_events=1)["written"] == 1
    # The store exists now; a look at it changes nothing.
    before = sorted((path.name, path.read_bytes()) for path in (tmp_path / "state").iterdir())
    options = {"state_dir": str(tmp_path / "state"), "config_dir": str(tmp_path / "etc"), "retries": 1}
    pull({**options, **tenant.options}, Context(check_mode=True))
    assert sorted((path.name, path.read_bytes()) for path in (tmp_path / "state").iterdir()) == before


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


def test_partial_answer_does_not_release_what_was_put_aside(tenant: MockTenant, pulled: Pull, tmp_path: Path) -> None:
    """The service says itself that something is missing: it may be the very alert that is waited for."""
    name = list(tenant.alerts("graph_alerts"))[-40][0]
    tenant.set_faults([{"match": {"leg": "graph_alerts"}, "do": {"poison": name}}])
    assert pulled(overlap="2s")["quarantined"] == 1
    tenant.set_faults([{"match": {"leg": "graph_alerts", "n": 1}, "do": {"status": 206, "drop_rows": 1}}])
    partial = pulled(overlap="2s")
    assert (partial["complete"], partial["quarantined"]) == (False, 1)
    tenant.set_faults([])
    assert pulled(overlap="2s")["quarantined"] == 0
    assert sorted(lines(tmp_path)) == sorted(raw for _id, _time, raw in tenant.alerts("graph_alerts"))


# --- the pace ------------------------------------------------------------------------------------------------------


def test_limit_of_requests_ends_a_run_as_a_budget_does(tenant: MockTenant, pulled: Pull, tmp_path: Path) -> None:
    """Another run has used it up: the rest comes with the next one, and nothing is reported as broken."""
    first = pulled(page_size=100, requests_per_minute=3, max_seconds=5)
    assert (first["complete"], first["new"] < 600, first["new"] > 0) == (False, True, True)
    assert any("3 requests in 60 s" in text for text in first["said"])
    assert first["streams"][0]["error"] is None
    assert pulled()["complete"]
    assert len(lines(tmp_path)) == len(set(lines(tmp_path))) == 600
