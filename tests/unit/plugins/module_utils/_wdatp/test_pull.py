# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole pulls against a mock tenant: what arrives in the file, what is counted, where the cursor stands."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp.clouds import APIS
from ansible_collections.secops.defender.plugins.module_utils._wdatp.definitions import define
from ansible_collections.secops.defender.plugins.module_utils._wdatp.errors import OptionError
from ansible_collections.secops.defender.plugins.module_utils._wdatp.formats import one_line
from ansible_collections.secops.defender.plugins.module_utils._wdatp.page import value_of
from ansible_collections.secops.defender.plugins.module_utils._wdatp.pull import Context, PullReport, pull
from ansible_collections.secops.defender.plugins.module_utils._wdatp.times import parse_time
from mock_api import MockTenant, TenantConfig

ODATA = ("graph_alerts", "graph_incidents", "mde_alerts")
# Younger than the first pull's day, so that time that passes during a test takes none away.
DATA: dict[str, Any] = {"alerts": 120, "span": "20h", "recent_share": None, "layout": "compact", "big_tie": 0}
FIGURES = ("fetched", "new", "updated", "duplicates", "written")


@pytest.fixture(scope="module")
def running_tenant() -> Iterator[MockTenant]:
    with MockTenant(TenantConfig(tenants=3, **DATA)) as tenant:
        yield tenant


@pytest.fixture
def tenant(tenant: MockTenant) -> MockTenant:
    """With data as on the first day; what an earlier test added is forgotten."""
    tenant.configure(**DATA)
    return tenant


class Puller:
    """A job: pulls with the same options again and again."""

    def __init__(self, tenant: MockTenant, state: Path, **options: Any) -> None:
        self.tenant = tenant
        self.state = state
        self.warnings: list[str] = []
        self.options: dict[str, Any] = {
            "api_url": tenant.url,
            "authority_url": tenant.url,
            "ca_path": tenant.ca_path,
            "state_dir": str(state),
            "timeout": 10,
            "retries": 3,
            **options,
        }
        if "credential" not in options:
            self.options.update(
                tenant_id=tenant.tenant_id, client_id=tenant.client_id, client_secret=tenant.client_secret
            )

    def report(self, check: bool = False, **options: Any) -> PullReport:
        return pull({**self.options, **options}, Context(warn=self.warnings.append, check_mode=check))

    def __call__(self, check: bool = False, **options: Any) -> dict[str, Any]:
        report = self.report(check, **options)
        assert report.failure() is None
        result = report.to_dict()
        assert result["fetched"] == result["new"] + result["updated"] + result["duplicates"]
        # It ends in Ansible's result.
        json.dumps(result)
        return result

    @property
    def path(self) -> Path:
        return self.state / "events.jsonl"

    @property
    def lines(self) -> list[bytes]:
        text = self.path.read_bytes()
        assert text.endswith(b"\n") or not text
        return text.splitlines()

    def truth(self, **options: Any) -> list[bytes]:
        return [one_line(raw) for _id, _time, raw in self.tenant.alerts(self.options.get("api", APIS[0]), **options)]

    def check(self, **options: Any) -> None:
        """The file holds the truth, each event once."""
        assert Counter(self.lines) == Counter(self.truth(**options))


@pytest.fixture
def puller(tenant: MockTenant, tmp_path: Path) -> Callable[..., Puller]:
    return lambda **options: Puller(tenant, tmp_path / "state", **options)


def figures(result: dict[str, Any]) -> dict[str, int]:
    return {name: result[name] for name in FIGURES}


def counts(new: int = 0, updated: int = 0, duplicates: int = 0, written: int | None = None) -> dict[str, int]:
    return {
        "fetched": new + updated + duplicates,
        "new": new,
        "updated": updated,
        "duplicates": duplicates,
        "written": new + updated if written is None else written,
    }


def on_disk(path: Path) -> dict[str, bytes]:
    return {str(item): item.read_bytes() for item in sorted(path.rglob("*")) if item.is_file()}


# --- the first, the second, the third ------------------------------------------------------------------------------


@pytest.mark.parametrize("api", APIS)
def test_three_pulls(tenant: MockTenant, puller: Callable[..., Puller], api: str) -> None:
    job = puller(api=api)
    first = job()
    total = len(job.truth())
    assert figures(first) == counts(new=total)
    assert (first["changed"], first["complete"], first["pending"]) == (True, True, 0)
    assert first["cursor"]["before"] is None
    job.check()

    before = on_disk(job.path)
    second = job()
    assert figures(second) == counts(duplicates=second["duplicates"])
    assert second["duplicates"] > 0
    assert (second["changed"], second["complete"]) == (False, True)
    assert second["cursor"] == {"before": first["cursor"]["after"], "after": first["cursor"]["after"]}
    assert on_disk(job.path) == before

    tenant.add_alerts(5, spread_seconds=1)
    third = job()
    assert third["new"] > 0
    assert third["written"] == third["new"] + third["updated"]
    assert third["changed"]
    if api == "graph_incidents":
        # An incident whose newest alert is new is there once more, in another version.
        assert set(job.truth()) <= set(job.lines)
    else:
        job.check()


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("layout", ["spaces", "lines"])
def test_bytes_are_kept_in_every_layout(
    tenant: MockTenant, puller: Callable[..., Puller], api: str, layout: str
) -> None:
    tenant.configure(layout=layout, alerts=40)
    job = puller(api=api)
    job()
    job.check()


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("page_size", [1, 7])
def test_small_pages(tenant: MockTenant, puller: Callable[..., Puller], api: str, page_size: int) -> None:
    tenant.configure(alerts=30, big_tie=12)
    job = puller(api=api, page_size=page_size)
    assert job()["complete"]
    job.check()


@pytest.mark.parametrize("api", APIS)
def test_an_empty_tenant(tenant: MockTenant, puller: Callable[..., Puller], api: str) -> None:
    tenant.configure(alerts=0)
    job = puller(api=api)
    result = job()
    assert figures(result) == counts()
    assert (result["changed"], result["complete"]) == (False, True)
    assert result["cursor"] == {"before": None, "after": None}
    assert not job.path.exists()


@pytest.mark.parametrize("api", ["mde_alerts", "graph_incidents"])
def test_without_evidence(puller: Callable[..., Puller], api: str) -> None:
    job = puller(api=api, expand=False)
    job()
    job.check(expand=False)


# --- the cursor ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("api", APIS)
def test_the_cursor_is_microsofts_own_text_of_the_newest_event(
    tenant: MockTenant, puller: Callable[..., Puller], api: str
) -> None:
    job = puller(api=api)
    after = job()["cursor"]["after"]
    newest = list(tenant.alerts(api))[-1]
    assert after == newest[1]
    assert b'"%b"' % after.encode() in newest[2]


def test_the_cursor_of_an_interrupted_pull_is_not_ahead_of_what_is_written(
    tenant: MockTenant, puller: Callable[..., Puller]
) -> None:
    tenant.set_faults([{"match": {"leg": "api", "from": 4}, "do": {"status": 403}}])
    job = puller(page_size=20)
    report = job.report()
    (stream,) = report.streams
    assert stream.error is not None
    assert stream.error.code == "api.forbidden"
    assert stream.after is not None
    assert not stream.complete
    times = [json.loads(line)["lastUpdateDateTime"] for line in job.lines]
    assert max(times, key=parse_time) == stream.after
    text = str(report.failure())
    assert f"Written and safe in this run: {len(job.lines)} events" in text
    assert "403" in text
    tenant.set_faults([])
    assert job()["complete"]
    job.check()


def test_since_reads_again_and_never_moves_the_cursor_back(puller: Callable[..., Puller]) -> None:
    job = puller()
    first = job()
    again = job(since="21h")
    assert figures(again) == counts(duplicates=first["new"])
    assert not again["changed"]
    assert again["cursor"]["after"] == first["cursor"]["after"]


def test_since_behind_a_gap_leaves_the_cursor_before_it(puller: Callable[..., Puller]) -> None:
    job = puller()
    first = job(until="6h")
    behind = job(since="30m")
    assert behind["new"] > 0
    assert behind["cursor"]["after"] == first["cursor"]["after"]
    # What lies in the gap comes with the next ordinary run.
    third = job()
    assert third["new"] > 0
    assert third["duplicates"] >= behind["new"]
    job.check()


def test_until_ends_the_window(tenant: MockTenant, puller: Callable[..., Puller]) -> None:
    job = puller()
    end = list(tenant.alerts())[60]
    result = job(until=end[1])
    assert result["complete"]
    assert result["cursor"]["after"] == end[1]
    expected = [raw for _id, time, raw in tenant.alerts() if parse_time(time) <= parse_time(end[1])]
    assert job.lines == expected
    job()
    job.check()


def test_until_before_the_cursor_finds_nothing_and_moves_nothing(puller: Callable[..., Puller]) -> None:
    for api in APIS:
        job = puller(api=api)
        before = job()["cursor"]["after"]
        result = job(until="19h")
        assert figures(result) == counts()
        assert result["cursor"]["after"] == before


def test_initial_lookback_counts_only_once(tenant: MockTenant, puller: Callable[..., Puller]) -> None:
    job = puller(initial_lookback="10h")
    assert 0 < job()["new"] < 120
    assert job(initial_lookback="2d")["new"] == 0


def test_lag_tells_how_far_behind_an_unfinished_run_is(puller: Callable[..., Puller]) -> None:
    job = puller()
    assert job(max_events=1)["lag_seconds"] > 18 * 3600
    assert job()["lag_seconds"] < 30


# --- late, tied and updated ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("api", ["graph_alerts", "mde_alerts", "alert_exporter"])
def test_late_alerts_within_the_overlap_arrive(tenant: MockTenant, puller: Callable[..., Puller], api: str) -> None:
    job = puller(api=api)
    before = job()["cursor"]["after"]
    tenant.add_alerts(3, late_seconds=1700)
    result = job()
    assert result["new"] >= 3
    assert result["cursor"]["after"] == before
    job.check()


def test_the_overlap_reaches_as_far_as_it_is_told(tenant: MockTenant, puller: Callable[..., Puller]) -> None:
    job = puller()
    job()
    tenant.add_alerts(3, late_seconds=7200)
    assert job()["new"] == 0
    assert job(overlap="3h")["new"] == 3
    job.check()


@pytest.mark.parametrize("api", ["graph_alerts", "mde_alerts"])
def test_updated_alerts_are_written_in_both_versions(
    tenant: MockTenant, puller: Callable[..., Puller], api: str
) -> None:
    job = puller(api=api)
    job()
    old = Counter(job.truth())
    ids = tenant.update_alerts(3)
    result = job()
    assert (result["new"], result["updated"], result["written"]) == (0, 3, 3)
    assert Counter(job.lines) == old | Counter(job.truth())
    assert sorted(json.loads(line)["id"] for line in job.lines[-3:]) == sorted(ids)
    # And each of them once.
    assert job()["written"] == 0


def test_new_only_writes_no_updates_and_counts_them(tenant: MockTenant, puller: Callable[..., Puller]) -> None:
    job = puller(updates="new_only")
    job()
    before = job.lines
    tenant.update_alerts(3)
    result = job()
    assert (result["updated"], result["written"], result["changed"]) == (3, 0, False)
    assert job.lines == before
    # Counted once; the cursor moved on.
    assert result["cursor"]["after"] != result["cursor"]["before"]
    assert job()["updated"] == 0


# --- budgets -------------------------------------------------------------------------------------------------------


def drain(job: Puller, runs: int, **options: Any) -> list[dict[str, Any]]:
    """Pulls until everything is there; never a byte taken back, never a run that moves nothing."""
    results = []
    for _number in range(runs):
        before = job.path.read_bytes() if job.path.exists() else b""
        results.append(job(**options))
        assert job.path.read_bytes().startswith(before)
        if results[-1]["complete"]:
            return results
        assert results[-1]["written"] > 0, "a run that makes no progress"
    raise AssertionError("it does not end")


def test_max_events_counts_what_is_written(puller: Callable[..., Puller]) -> None:
    """Known events cost nothing, or a run would never get behind the overlap."""
    job = puller()
    job()
    result = job(since="21h", max_events=1)
    assert result["duplicates"] == 120
    assert result["complete"]


def test_max_events_counts_ties_apart(tenant: MockTenant, puller: Callable[..., Puller]) -> None:
    tenant.configure(alerts=20, big_tie=20)
    job = puller(max_events=3, overlap="0s")
    drain(job, 8)
    job.check()


@pytest.mark.parametrize("api", ["graph_incidents", "alert_exporter"])
def test_max_bytes_ends_after_the_event_that_goes_over_it(puller: Callable[..., Puller], api: str) -> None:
    job = puller(api=api, max_bytes=90_000)
    size = 0
    for result in drain(job, 40)[:-1]:
        assert result["written"] >= 1
        size += 90_000
    assert job.path.stat().st_size > size
    job.check()


def test_a_single_event_larger_than_max_bytes_is_written(puller: Callable[..., Puller]) -> None:
    job = puller(max_bytes=1)
    result = job()
    assert (result["written"], result["complete"]) == (1, False)


def test_max_seconds_gets_behind_the_overlap_however_long_that_takes(
    tenant: MockTenant, puller: Callable[..., Puller]
) -> None:
    """Else each run would read what is known until its time is up, for ever."""
    tenant.configure(alerts=40, span="20m", recent_share=0.0)
    job = puller(page_size=10)
    job(max_events=30)
    tenant.set_faults([{"match": {"leg": "api"}, "do": {"delay": 0.4}}])
    result = job(max_seconds=1)
    assert result["duplicates"] >= 30
    assert result["new"] > 0


def test_max_seconds_ends_at_the_next_page(tenant: MockTenant, puller: Callable[..., Puller]) -> None:
    tenant.set_faults([{"match": {"leg": "api"}, "do": {"delay": 0.4}}])
    job = puller(page_size=10)
    result = job(max_seconds=1)
    assert not result["complete"]
    assert 0 < result["new"] < 60
    assert result["duration_seconds"] < 3
    tenant.set_faults([])
    assert job()["complete"]
    job.check()


# --- filters -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("api", APIS)
def test_severity(puller: Callable[..., Puller], api: str) -> None:
    job = puller(api=api, severity=["high", "low"])
    assert job()["complete"]
    name = "Severity" if api == "alert_exporter" else "severity"
    wanted = [raw for raw in job.truth() if json.loads(raw)[name].lower() in ("high", "low")]
    assert 0 < len(wanted) < len(job.truth())
    assert Counter(job.lines) == Counter(wanted)


@pytest.mark.parametrize("api", ["graph_alerts", "mde_alerts", "alert_exporter"])
def test_category(puller: Callable[..., Puller], api: str) -> None:
    job = puller(api=api, category=["Malware"], page_size=10)
    assert job()["complete"]
    name = "Category" if api == "alert_exporter" else "category"
    wanted = [raw for raw in job.truth() if json.loads(raw)[name] == "Malware"]
    assert 0 < len(wanted) < len(job.truth())
    assert Counter(job.lines) == Counter(wanted)


def test_a_change_of_filters_has_its_own_cursor_and_writes_nothing_twice(puller: Callable[..., Puller]) -> None:
    job = puller()
    high = job(severity=["high"])
    assert 0 < high["new"] < 120
    wide = job()
    assert wide["cursor"]["before"] is None
    assert figures(wide) == counts(new=120 - high["new"], duplicates=high["new"])
    job.check()
    # The first cursor is still where it was.
    assert job(severity=["high"])["cursor"]["before"] == high["cursor"]["after"]


def test_a_filter_that_the_api_has_not_is_an_error_before_anything_happens(puller: Callable[..., Puller]) -> None:
    job = puller(api="alert_exporter", status=["new"])
    with pytest.raises(OptionError):
        job()
    assert not job.state.exists()


# --- several tenants -----------------------------------------------------------------------------------------------


@pytest.fixture
def customers(tenant: MockTenant, tmp_path: Path) -> Puller:
    """One app registration for three customers."""
    ids = [entry["tenant_id"] for entry in tenant.tenants]
    define(
        {
            "name": "msp",
            "config_dir": str(tmp_path / "etc"),
            "client_id": tenant.client_id,
            "client_secret": tenant.client_secret,
            "secret_storage": "file",
            "tenants": [
                {"tenant_id": name, "organization": title} for name, title in zip(ids, ("Alpha", "Beta", "Gamma"))
            ],
        },
        environ={},
    )
    return Puller(tenant, tmp_path / "state", credential="msp", config_dir=str(tmp_path / "etc"))


def test_all_tenants_of_a_credential_are_pulled(tenant: MockTenant, customers: Puller) -> None:
    result = customers()
    assert [stream["organization"] for stream in result["streams"]] == ["Alpha", "Beta", "Gamma"]
    assert all(figures(stream) == counts(new=120) for stream in result["streams"])
    assert figures(result) == counts(new=360)
    assert "cursor" not in result
    assert result["requests"] == sum(stream["requests"] for stream in result["streams"])
    truth = [raw for entry in tenant.tenants for _id, _time, raw in tenant.alerts(tenant=entry["tenant_id"])]
    assert Counter(customers.lines) == Counter(truth)
    assert customers()["written"] == 0


def test_each_tenant_has_its_own_cursor(customers: Puller) -> None:
    alone = customers(organization="Beta")
    assert (len(alone["streams"]), alone["new"]) == (1, 120)
    result = customers()
    befores = [stream["cursor"]["before"] for stream in result["streams"]]
    assert befores == [None, alone["cursor"]["after"], None]
    assert result["new"] == 240


def test_a_tenant_in_error_leaves_the_others_alone(tenant: MockTenant, customers: Puller, runtime_dir: Path) -> None:
    broken = tenant.tenants[1]["tenant_id"]
    tenant.configure(unconsented_tenants=[broken])
    report = customers.report()
    first, second, third = report.to_dict()["streams"]
    assert figures(first) == figures(third) == counts(new=120)
    assert figures(second) == counts()
    assert second["tenant_id"] == broken
    assert second["error"]["code"].startswith("auth.")
    assert second["error"]["remedy"]
    assert not report.to_dict()["complete"]
    failure = report.failure()
    assert failure is not None
    assert failure.code == second["error"]["code"]
    assert "Beta: " in failure.message
    assert "Alpha" not in failure.message
    assert "Written and safe in this run: 240 events" in failure.message
    # Healed, it is caught up on (by the time that Entra ID is asked again).
    tenant.configure(unconsented_tenants=[])
    for path in runtime_dir.iterdir():
        path.unlink()
    assert customers()["new"] == 120


def test_a_budget_counts_for_all_tenants_together(customers: Puller) -> None:
    results = drain(customers, 5, max_events=150)
    assert [result["written"] for result in results] == [150, 150, 60]


def test_with_a_budget_each_run_begins_with_another_tenant(tenant: MockTenant, customers: Puller) -> None:
    """Or a tenant whose alerts use up the budget in each run would keep it from all behind it."""
    results = [customers(max_events=50, max_parallel=1) for _number in range(3)]
    assert [[stream["organization"] for stream in result["streams"]] for result in results] == [
        ["Alpha", "Beta", "Gamma"]
    ] * 3
    assert [[stream["written"] for stream in result["streams"]] for result in results] == [
        [50, 0, 0],
        [0, 50, 0],
        [0, 0, 50],
    ]


def test_warnings_come_once_for_all_tenants(customers: Puller) -> None:
    customers(api="mde_alerts", page_size=20_000)
    page_size, retirement = customers.warnings
    assert "page_size 20000" in page_size
    assert "10000" in page_size
    assert "2027-02-01" in retirement
    assert "graph_alerts" in retirement


def test_an_envelope_tells_whose_alert_it_is(tenant: MockTenant, customers: Puller) -> None:
    customers(destinations=[{"path": str(customers.path), "format": "envelope"}])
    found = [json.loads(line) for line in customers.lines]
    assert Counter(item["wdatp"]["organization"] for item in found) == {"Alpha": 120, "Beta": 120, "Gamma": 120}
    assert all(item["alert"]["tenantId"] == item["wdatp"]["tenant_id"] for item in found)
    assert all(item["alert"]["id"] == item["wdatp"]["event_id"] for item in found)
    assert {(item["wdatp"]["credential"], item["wdatp"]["api"]) for item in found} == {("msp", "graph_alerts")}
    assert [item["wdatp"]["sequence"] for item in found] == list(range(1, 361))


# --- check mode ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("api", APIS)
def test_check_mode_gives_the_figures_of_a_real_run_and_changes_nothing(
    tenant: MockTenant, puller: Callable[..., Puller], api: str, tmp_path: Path
) -> None:
    job = puller(api=api)
    for _number in range(2):
        before = on_disk(tmp_path)
        predicted = job(check=True)
        assert on_disk(tmp_path) == before
        real = job()
        for name in ("fetched", "new", "updated", "duplicates", "complete", "changed"):
            assert predicted[name] == real[name], name
        assert predicted["written"] == 0
        assert predicted["cursor"]["before"] == predicted["cursor"]["after"] == real["cursor"]["before"]
        tenant.add_alerts(2, spread_seconds=1)
        tenant.update_alerts(1)


def test_check_mode_makes_no_directory(puller: Callable[..., Puller]) -> None:
    job = puller()
    assert job(check=True)["changed"]
    assert not job.state.exists()


def test_check_mode_predicts_that_a_destination_catches_up(puller: Callable[..., Puller], tmp_path: Path) -> None:
    late = tmp_path / "late"
    job = puller(destinations=[{"path": str(late / "events")}])
    assert job.report().failure() is not None
    late.mkdir()
    predicted = job(check=True)
    assert (predicted["pending"], predicted["changed"], predicted["written"]) == (120, True, 0)
    real = job()
    assert (real["pending"], real["changed"]) == (0, True)
    assert real["destinations"][0]["written"] == 120
    assert not job(check=True)["changed"]


# --- destinations --------------------------------------------------------------------------------------------------


def test_a_destination_in_error_leaves_its_events_in_the_outbox(puller: Callable[..., Puller], tmp_path: Path) -> None:
    late = tmp_path / "late" / "events"
    job = puller(destinations=[{"path": str(tmp_path / "good")}, {"path": str(late)}])
    report = job.report()
    result = report.to_dict()
    # Fetched and committed, and written where everybody has it: not yet.
    assert figures(result) == counts(new=120, written=0)
    assert (result["pending"], result["changed"], result["complete"]) == (120, True, True)
    good, bad = result["destinations"]
    assert (good["written"], good["error"]) == (120, None)
    assert (bad["written"], bad["pending"], bad["error"]["code"]) == (0, 120, "destination.no_directory")
    failure = report.failure()
    assert failure is not None
    assert str(late.parent) in failure.message
    assert "Waiting in the outbox: 120 events" in failure.message
    late.parent.mkdir()
    again = job()
    assert (again["pending"], again["changed"], again["written"]) == (0, True, 0)
    assert late.read_bytes() == (tmp_path / "good").read_bytes()
    assert len(late.read_bytes().splitlines()) == 120
    assert not job()["changed"]


def test_another_set_of_destinations_is_another_job(puller: Callable[..., Puller], tmp_path: Path) -> None:
    job = puller()
    job()
    other = job(destinations=[{"path": str(tmp_path / "other")}])
    assert other["new"] == 120
    assert (tmp_path / "other").read_bytes() == job.path.read_bytes()
    assert job()["new"] == 0


def test_another_format_goes_on_in_the_same_job(tenant: MockTenant, puller: Callable[..., Puller]) -> None:
    job = puller()
    job()
    tenant.add_alerts(1)
    assert job(destinations=[{"path": str(job.path), "format": "envelope"}])["written"] == 1
    assert json.loads(job.lines[-1])["wdatp"]["sequence"] == 121


# --- results -------------------------------------------------------------------------------------------------------


def test_return_events_are_the_newest_that_were_written(tenant: MockTenant, puller: Callable[..., Puller]) -> None:
    job = puller()
    assert job(max_events=10)["events"] == []
    first = job(return_events=3)
    assert first["events"] == [value_of(line) for line in job.lines[-3:]]
    assert job(return_events=3)["events"] == []
    assert len(job(check=True, since="21h", return_events=3)["events"]) == 0
    tenant.add_alerts(1)
    (event,) = job(return_events=3)["events"]
    assert event == value_of(job.lines[-1])


def test_return_events_across_pages(puller: Callable[..., Puller]) -> None:
    job = puller(page_size=7, return_events=25)
    assert job()["events"] == [value_of(line) for line in job.lines[-25:]]


def test_a_current_api_warns_of_nothing(puller: Callable[..., Puller]) -> None:
    job = puller()
    job()
    assert job.warnings == []


# --- the API's moods -----------------------------------------------------------------------------------------------


def test_an_answer_that_stays_broken_keeps_what_came_before(tenant: MockTenant, puller: Callable[..., Puller]) -> None:
    tenant.set_faults([{"match": {"leg": "api", "from": 3}, "do": {"html_200": True}}])
    job = puller(page_size=20)
    result = job.report().to_dict()
    assert result["streams"][0]["error"]["code"] == "network.not_json"
    assert result["written"] == len(job.lines) > 20
    tenant.set_faults([])
    job()
    job.check()
