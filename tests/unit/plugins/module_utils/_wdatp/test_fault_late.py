# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Alerts that come late, change, or lie about when. Names and first sentences are the table docs/faults.md."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp.pulloptions import pull_options
from ansible_collections.secops.defender.plugins.module_utils._wdatp.times import DAY, HOUR, MINUTE, SECOND, parse_time
from fault_job import ALL, ODATA, Job, values
from mock_api import MockTenant

Make = Callable[..., Job]
ALERTS = ("graph_alerts", "mde_alerts", "alert_exporter")


def move(tenant: MockTenant, number: int, ticks: int) -> None:
    """Another update time for an alert of which nothing else changes (ticks since 1970)."""
    dataset = tenant.dataset()
    with dataset.lock:
        dataset.alerts.put(number, ticks)
        dataset.version += 1


# --- late ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("api", ALERTS)
def test_fault_alerts_become_visible_later_than_their_time_says(nasty: MockTenant, job: Make, api: str) -> None:
    """Each run reads back half an hour, or twice as far as alerts of this tenant were ever late; or as far as told."""
    made = job(api=api)
    nasty.add_alerts(1)
    made.run()
    for minutes in (29, 50, 99):
        nasty.add_alerts(1, late_seconds=minutes * 60)
        assert made.run()["new"] >= 1
    made.check()
    # A fixed overlap stays as it is.
    nasty.add_alerts(1, late_seconds=40 * 60)
    assert made.run(overlap="30m")["new"] == 0
    assert made.run()["new"] >= 1
    made.check()


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
def test_fault_lateness_would_grow_without_bounds(overlap: str, lateness: int, expected: int) -> None:
    """`overlap: auto` is never shorter than half an hour and never longer than a day."""
    assert pull_options({"state_dir": "/x", "overlap": overlap}).overlap_for(lateness) == expected


def test_fault_a_backfill_would_teach_lateness(nasty: MockTenant, job: Make) -> None:
    """What is read on purpose, with `since`, teaches nothing about how late alerts come."""
    made = job()
    made.run(initial_lookback="1h")
    assert made.run(since="21h")["new"] > 0
    nasty.add_alerts(1, late_seconds=40 * 60)
    assert made.run()["new"] == 0
    made.run(since="2h")
    made.check()


@pytest.mark.parametrize("api", ALL)
def test_fault_alert_comes_later_than_any_overlap(nasty: MockTenant, job: Make, api: str) -> None:
    """No ordinary run can see it; `reconcile: report` names it, and `fill` writes it and nothing else."""
    made = job(api=api, overlap="5m")
    made.run()
    before = made.lines
    nasty.add_alerts(2, late_seconds=3 * 3600)
    assert made.run()["written"] == 0
    reported = made.run(reconcile="report")
    assert reported["reconciled"]["missing"] >= 1
    assert made.lines == before
    filled = made.run(reconcile="fill")
    assert filled["written"] == filled["reconciled"]["filled"] == reported["reconciled"]["missing"]
    assert set(made.truth()) <= set(made.lines)
    assert len(set(made.lines)) == len(made.lines)
    assert made.run(reconcile="report")["reconciled"]["missing"] == 0


# --- the same time -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overlap", ["auto", "0s"])
@pytest.mark.parametrize("api", ALERTS)
def test_fault_alert_is_updated_within_the_tick_that_was_read_last(
    nasty: MockTenant, job: Make, api: str, overlap: str
) -> None:
    """The last time that was read belongs to the next question too; what changed at that very time comes."""
    made = job(api=api, overlap=overlap)
    made.run()
    dataset = nasty.dataset()
    ((ticks, _number),) = dataset.newest(1)
    earlier = set(made.lines)
    dataset.update([3, 4], [ticks, ticks])
    result = made.run()
    assert result["updated"] >= 2
    assert result["cursor"]["after"] == result["cursor"]["before"]
    assert set(made.lines) == earlier | set(made.truth())
    assert made.run()["written"] == 0


# --- changed -------------------------------------------------------------------------------------------------------


# What changes of an alert here is its status, which the exporter does not show.
@pytest.mark.parametrize("api", ["graph_alerts", "mde_alerts"])
@pytest.mark.parametrize(
    ("updates", "is_changed", "is_touched", "is_older"),
    [
        ("all", True, True, True),
        ("latest", True, True, False),
        ("new_only", False, False, False),
        ("changed", True, False, False),
    ],
)
def test_fault_alerts_change_are_touched_and_come_in_the_wrong_order(
    nasty: MockTenant, job: Make, api: str, updates: str, is_changed: bool, is_touched: bool, is_older: bool
) -> None:
    """`updates` says which versions are written: every one, newer ones, changed ones or none; each is counted once."""
    made = job(api=api, updates=updates)
    made.run()
    written: list[bool] = []

    def again() -> None:
        result = made.run()
        assert result["updated"] >= 1
        assert made.run()["updated"] == 0
        written.append(result["written"] > 0)

    nasty.update_alerts(1)
    again()
    # One that is not resolved: else it would say when it was.
    number = next(number for number in range(30) if nasty.dataset().status(number) == "new")
    now = nasty.clock.ticks()
    move(nasty, number, now)
    again()
    move(nasty, number, now - 60 * SECOND)
    again()
    assert written == [is_changed, is_touched, is_older]
    assert len(set(made.lines)) == len(made.lines)


@pytest.mark.parametrize("api", ODATA)
def test_fault_alert_has_no_readable_time(nasty: MockTenant, job: Make, api: str) -> None:
    """A row without a readable update time is written all the same, once, and moves no cursor."""
    row = {"id": "a", "lastUpdateDateTime": "yesterday", "lastUpdateTime": None}
    nasty.set_faults(
        [
            {"match": {"leg": "api", "query": "skip="}, "do": {"body": {"value": []}}},
            {"match": {"leg": "api"}, "do": {"body": {"value": [row]}}},
        ]
    )
    made = job(api=api)
    for _run in range(2):
        assert made.run()["cursor"]["after"] is None
    assert [values(line) for line in made.lines] == [row]


@pytest.mark.parametrize("api", ["graph_alerts", "mde_alerts"])
def test_fault_alert_lies_in_the_future(nasty: MockTenant, job: Make, api: str) -> None:
    """A time ahead of Microsoft's clock is taken as it is: alerts that come behind it are found by the overlap."""
    made = job(api=api)
    made.run()
    nasty.add_alerts(1, late_seconds=-600)
    result = made.run()
    assert result["new"] >= 1
    assert parse_time(result["cursor"]["after"]) > parse_time(result["cursor"]["before"])
    nasty.add_alerts(2)
    assert made.run()["new"] >= 2
    made.check()
