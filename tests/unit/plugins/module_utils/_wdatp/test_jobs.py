# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs: their definitions, the streams that they mean, how they are pulled, and how each stream fares."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp import crew, health
from ansible_collections.secops.defender.plugins.module_utils._wdatp.crew import in_parallel
from ansible_collections.secops.defender.plugins.module_utils._wdatp.definitions import define
from ansible_collections.secops.defender.plugins.module_utils._wdatp.errors import JobError, WdatpError
from ansible_collections.secops.defender.plugins.module_utils._wdatp.jobs import JobStore
from ansible_collections.secops.defender.plugins.module_utils._wdatp.moving import (
    export_leaving,
    export_tenant,
    import_tenants,
    take_back,
)
from ansible_collections.secops.defender.plugins.module_utils._wdatp.options import JOB
from ansible_collections.secops.defender.plugins.module_utils._wdatp.plan import collector_of, is_mine
from ansible_collections.secops.defender.plugins.module_utils._wdatp.status import job_infos
from collecting import CUSTOMERS, NAMES, Collector
from hypothesis import given
from hypothesis import strategies as st
from mock_api import MockTenant

TENANT = CUSTOMERS


def ids_of(path: Path) -> Counter[str]:
    return Counter(json.loads(line)["id"] for line in path.read_text("utf-8").splitlines())


# --- definitions ------------------------------------------------------------------------------------------------------


def test_a_job_is_defined_once(collector: Collector) -> None:
    assert collector.define(check=True).changed
    assert not os.path.exists(collector.define(check=True).path)
    first = collector.define(interval="10m", severity=["high"])
    assert first.changed
    assert json.loads(first.after) == {"interval": "10m", "severity": ["high"], "timeout": 10, "retries": 1}
    assert os.stat(first.path).st_mode & 0o777 == 0o640
    assert not collector.define(interval="10m", severity=["high"]).changed
    other = collector.define()
    assert (other.changed, other.before) == (True, first.after)
    gone = collector.define(state="absent")
    assert (gone.changed, gone.job, gone.after) == (True, None, "")
    assert not collector.define(state="absent").changed


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"interval": "5s"}, "option.invalid"),
        ({"interval": "often"}, "option.invalid"),
        ({"overlap": "x"}, "option.invalid"),
        ({"max_parallel": 0}, "option.invalid"),
        ({"name": "../evil"}, "option.invalid"),
        ({"severity": ["loud"]}, "option.invalid"),
        ({"credentials": ["nobody"]}, "credential.unknown"),
        ({"organizations": ["Nobody"]}, "job.organization"),
        ({"collectors": ["a", "b"]}, "option.conflict"),
        ({"collectors": ["a", "b"], "collector": "c"}, "option.invalid"),
        ({"destinations": [{"type": "file", "path": "events.jsonl", "format": "raw"}]}, "option.invalid"),
        ({"metrics_path": "wdatp.prom"}, "option.invalid"),
        ({"name": "second"}, "job.destination"),
    ],
)
def test_an_impossible_job_is_refused_before_anything_is_written(
    collector: Collector, options: dict[str, Any], code: str
) -> None:
    collector.define(interval="1h")
    with pytest.raises(WdatpError) as caught:
        collector.define(**options)
    assert caught.value.code == code
    assert caught.value.remedy
    assert JobStore(collector.config_dir).names() == ["default"]
    assert collector.job()["interval"] == "1h"


def test_no_credential_no_job(tenant: MockTenant, tmp_path: Path) -> None:
    with pytest.raises(JobError, match="nobody to pull for"):
        Collector(tenant, tmp_path).define()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        '{"schema": 1, "interval": 5}',
        '{"schema": 1, "credentials": "x"}',
        '{"schema": 1, "retries": true}',
        '{"schema": 1, "evil": 1}',
        '{"schema": 1, "updates": "never"}',
        '{"schema": 1, "destinations": [1]}',
    ],
)
def test_a_damaged_definition_is_named_and_can_be_replaced(collector: Collector, text: str) -> None:
    path = Path(collector.define().path)
    path.write_text(text, "utf-8")
    with pytest.raises(JobError) as caught:
        collector.pull()
    assert caught.value.code == "job.broken"
    assert str(path) in caught.value.message
    (info,) = job_infos(collector.config_dir, collector.state_dir)
    assert info["error"]["code"] == "job.broken"
    assert collector.define().changed
    assert collector.pull().failure() is None


def test_a_definition_of_a_newer_version_is_left_alone(collector: Collector) -> None:
    path = Path(collector.define().path)
    path.write_text('{"schema": 99}', "utf-8")
    for deed in (collector.pull, collector.define):
        with pytest.raises(JobError) as caught:
            deed()
        assert caught.value.code == "job.newer"
    assert path.read_text("utf-8") == '{"schema": 99}'


def test_every_option_of_a_job_survives_its_file(collector: Collector) -> None:
    given: dict[str, Any] = {
        "credentials": ["msp"],
        "organizations": ["beta"],
        "apis": ["graph_alerts"],
        "destinations": [{"type": "file", "path": "/srv/a.jsonl", "format": "envelope"}],
        "collectors": ["a", "b"],
        "collector": "a",
        "metrics_path": "/srv/m.prom",
        "heartbeat": True,
        "enabled": False,
    }
    described = collector.define(**given).job
    loaded = collector.job().describe()
    assert described == loaded
    assert {name: loaded[name] for name in given} == given
    assert set(loaded) == {option.name for option in JOB} - {"state", "config_dir", "state_dir"}


def test_a_credential_that_goes_names_the_jobs_that_use_it(collector: Collector) -> None:
    said: list[str] = []
    options = {"name": "msp", "state": "absent", "config_dir": collector.config_dir}
    collector.define()
    define(options, check=True, notify=said.append)
    assert said == []
    collector.define(credentials=["msp"])
    define(options, notify=said.append)
    assert len(said) == 1
    assert "the job default" in said[0]


# --- streams ----------------------------------------------------------------------------------------------------------


def test_a_job_pulls_all_tenants_and_knows_them_by_name(collector: Collector) -> None:
    collector.define()
    report = collector.pull()
    assert [(stream.organization, stream.new, stream.credential) for stream in report.streams] == [
        (name, 30, "msp") for name in NAMES
    ]
    assert set(ids_of(collector.events).values()) == {1}
    again = collector.pull().to_dict()
    assert (again["new"], again["written"], again["complete"]) == (0, 0, True)
    assert os.path.exists(os.path.join(collector.state_dir, "jobs", "default", "state.db"))


def test_organizations_and_apis_choose(collector: Collector) -> None:
    collector.define(organizations=["ALPHA", "gamma"], apis=["graph_alerts", "mde_alerts"])
    report = collector.pull()
    assert {(stream.organization, stream.api) for stream in report.streams} == {
        (name, api) for name in ("Alpha", "Gamma") for api in ("graph_alerts", "mde_alerts")
    }
    assert report.failure() is None
    assert all(stream.new for stream in report.streams)


def test_jobs_have_stores_of_their_own(collector: Collector, tmp_path: Path) -> None:
    collector.define(organizations=["Alpha"])
    collector.define(name="other", destinations=[{"path": str(tmp_path / "other.jsonl")}])
    assert collector.pull().to_dict()["new"] == 30
    assert collector.pull("other").to_dict()["new"] == 90


def test_with_a_job_nothing_else_may_be_said(collector: Collector) -> None:
    collector.define()
    with pytest.raises(WdatpError) as caught:
        collector.pull(severity=["high"], tenant_id="x")
    assert caught.value.code == "option.conflict"
    assert "severity, tenant_id" in caught.value.message
    assert collector.pull(since="1h", return_events=2, reconcile="no", max_parallel=8).failure() is None


def test_a_credential_that_breaks_later_is_its_tenants_error_alone(collector: Collector) -> None:
    collector.credential("msp", ("Alpha",))
    collector.credential("second", ("Beta",))
    collector.define()
    Path(collector.config_dir, "credentials", "second.json").write_text("{", "utf-8")
    report = collector.pull()
    good, bad = report.streams
    assert (good.new, good.error) == (30, None)
    assert bad.error is not None
    assert (bad.error.code, bad.credential) == ("credential.broken", "second")


def test_a_tenant_under_two_names_is_pulled_once(collector: Collector, tenant: MockTenant) -> None:
    collector.credential("msp", ("Alpha",))
    domain = tenant.tenants[0]["domain"]
    collector.credential("twice", (), tenants=[{"tenant_id": domain, "organization": "Alias"}])
    collector.define()
    report = collector.pull()
    assert sorted(stream.new for stream in report.streams) == [0, 30]
    assert [stream.error.code for stream in report.streams if stream.error] == ["job.twice"]
    assert set(ids_of(collector.events).values()) == {1}


def test_the_environment_has_no_say_in_a_job(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    collector.define()
    for name in ("WDATP_ORGANIZATION", "WDATP_API", "WDATP_HOST", "WDATP_API_URL", "WDATP_TENANT_ID"):
        monkeypatch.setenv(name, "elsewhere")
    assert collector.pull().to_dict()["new"] == 90


def test_with_a_budget_whoever_was_left_out_comes_first(collector: Collector) -> None:
    collector.define(max_events=40, max_parallel=1)
    written = [[stream.written for stream in collector.pull().streams] for _run in range(3)]
    assert written == [[30, 10, 0], [0, 10, 30], [0, 10, 0]]
    assert collector.pull().to_dict()["complete"] is True


# --- parallel ---------------------------------------------------------------------------------------------------------


def test_no_more_at_once_than_wanted() -> None:
    running, most, guard = set(), [0], threading.Lock()

    def work(number: int) -> None:
        with guard:
            running.add(number)
            most[0] = max(most[0], len(running))
        time.sleep(0.01)
        with guard:
            running.remove(number)

    in_parallel(range(20), work, 3)
    assert most == [3]


def test_who_takes_long_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that hang until all others are done, and room for two: nobody waits for them."""
    monkeypatch.setattr(crew, "_SLOW_SECONDS", 0.05)
    done: list[int] = []
    others = threading.Event()

    def work(number: int) -> None:
        if number < 2:
            assert others.wait(30)
        done.append(number)
        if len(done) == 8:
            others.set()

    in_parallel(range(10), work, 2)
    assert sorted(done) == list(range(10))
    assert sorted(done[8:]) == [0, 1]


@pytest.mark.parametrize("at_once", [1, 3])
def test_what_breaks_ends_the_rest(at_once: int) -> None:
    begun: list[int] = []

    def work(number: int) -> None:
        begun.append(number)
        raise KeyError(number)

    with pytest.raises(KeyError):
        in_parallel(range(100), work, at_once)
    assert len(begun) <= at_once


# --- health and back-off ----------------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """What the back-off takes for the time; it passes where a test lets it."""
    now = [1_800_000_000.0]
    monkeypatch.setattr(health.Health.__init__, "__defaults__", (False, lambda: now[0]))
    yield now


def test_a_tenant_that_fails_backs_off_alone(collector: Collector, tenant: MockTenant, clock: list[float]) -> None:
    collector.define()
    beta = tenant.tenants[1]["tenant_id"]
    tenant.set_faults([{"match": {"tenant": beta, "leg": "graph_alerts"}, "do": {"status": 403}}])
    attempts = []
    for _run in range(40):
        tenant.clear_requests()
        report = collector.pull()
        bad = report.streams[1]
        assert bad.error is not None
        assert bad.error.code == "api.forbidden"
        assert bad.error.remedy
        assert [stream.error for stream in report.streams if stream is not bad] == [None, None]
        if bad.counters.requests:
            attempts.append(clock[0])
        clock[0] += 60
    gaps = [int(late - early) for early, late in zip(attempts, attempts[1:])]
    assert gaps[:6] == [60, 60, 120, 240, 480, 900]
    stream = collector.info()["streams"][1]
    assert stream["last_error"]["code"] == "api.forbidden"
    assert stream["failures"] == len(attempts)
    # A person is not made to wait, and all is forgotten once it works again.
    tenant.set_faults([])
    assert collector.pull(insists=True).failure() is None
    assert collector.info()["streams"][1]["last_error"] is None
    assert set(ids_of(collector.events).values()) == {1}
    assert sum(ids_of(collector.events).values()) == 90


def test_what_is_wrong_on_this_host_is_looked_at_in_each_run(collector: Collector, clock: list[float]) -> None:
    """It costs nobody anything, and whoever has mended it should not have to wait."""
    collector.credential(tenants=None, tenant_id=collector.tenant.tenant_id, names=())
    secrets = Path(collector.config_dir, "secrets", "msp.secret")
    text = secrets.read_text("utf-8")
    collector.define()
    for content in ("broken", "{}"):
        secrets.write_text(content, "utf-8")
        for _run in range(3):
            (stream,) = collector.pull().streams
            assert stream.error is not None
            assert stream.error.code.startswith("credential.")
            assert "the next attempt" not in stream.error.message
    secrets.write_text(text, "utf-8")
    assert collector.pull().to_dict()["new"] == 30


def test_a_failing_tenant_is_asked_once_and_not_waited_for(
    collector: Collector, tenant: MockTenant, clock: list[float]
) -> None:
    collector.define(retries=1, organizations=["Beta"])
    tenant.set_faults([{"match": {"leg": "graph_alerts"}, "do": {"status": 503}}])
    first = collector.pull().streams[0].counters.requests
    clock[0] += 3600
    second = collector.pull().streams[0].counters.requests
    assert second < first


def test_info_tells_what_monitoring_needs(collector: Collector) -> None:
    collector.define(heartbeat=True, metrics_path=os.path.join(collector.state_dir, "wdatp.prom"))
    assert collector.info()["last_run"] is None
    collector.pull()
    info = collector.info()
    assert info["last_run"]["new"] == 90
    assert info["last_run"]["complete"] is True
    assert [stream["organization"] for stream in info["streams"]] == list(NAMES)
    for stream in info["streams"]:
        assert stream["lag_seconds"] < 60
        assert stream["cursor"]
        assert stream["last_success"] == stream["last_attempt"]
    assert (info["pending"], info["error"], info["is_running"]) == (0, None, False)
    json.dumps(info)
    text = Path(collector.state_dir, "wdatp.prom").read_text("utf-8")
    assert 'wdatp_job_last_run_new_events{job_name="default"} 90\n' in text
    assert 'organization="Beta"' in text


def test_check_mode_leaves_no_trace(collector: Collector) -> None:
    collector.define(heartbeat=True, metrics_path=os.path.join(collector.state_dir, "wdatp.prom"))
    assert collector.pull(check=True).to_dict()["new"] == 90
    assert not os.path.exists(collector.state_dir)


# --- heartbeat --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text_format", ["raw", "envelope"])
def test_a_heartbeat_is_no_alert(collector: Collector, tmp_path: Path, text_format: str) -> None:
    path = tmp_path / "out.jsonl"
    collector.define(heartbeat=True, destinations=[{"path": str(path), "format": text_format}])
    first, second = collector.pull().to_dict(), collector.pull().to_dict()
    assert (first["written"], second["written"], second["changed"]) == (90, 0, False)
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    beats = [line["wdatp"]["heartbeat"] for line in lines if "heartbeat" in line.get("wdatp", {})]
    assert len(lines) == 92
    assert [(beat["job"], beat["new"], beat["tenants"]) for beat in beats] == [("default", 90, 3), ("default", 0, 3)]
    checked = collector.pull(reconcile="report", since="21h").to_dict()
    assert (checked["reconciled"]["missing"], checked["manifest"]["problems"]) == (0, [])


def test_a_heartbeat_waits_for_its_file_like_any_event(collector: Collector, tmp_path: Path) -> None:
    path = tmp_path / "away" / "out.jsonl"
    collector.define(heartbeat=True, destinations=[{"path": str(path)}])
    assert collector.pull().failure() is not None
    assert collector.info()["pending"] == 90
    path.parent.mkdir()
    assert collector.pull().failure() is None
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert ["heartbeat" in line.get("wdatp", {}) for line in lines] == [False] * 90 + [True, True]


# --- several collectors -----------------------------------------------------------------------------------------------


@given(
    collectors=st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=6, unique=True),
    added=st.text(min_size=9, max_size=10),
    tenants=st.lists(st.uuids().map(str), min_size=1, max_size=30, unique=True),
)
def test_each_tenant_has_one_collector_and_moves_only_to_one_that_is_added(
    collectors: list[str], added: str, tenants: list[str]
) -> None:
    for tenant in tenants:
        (before,) = [name for name in collectors if is_mine(tenant, collectors, name)]
        more = [added, *reversed(collectors)]
        (after,) = [name for name in more if is_mine(tenant.upper(), more, name)]
        assert after in (before, added)


def test_tenants_are_spread_evenly() -> None:
    names = [f"collector{number}" for number in range(4)]
    share = Counter(
        name for number in range(4000) for name in names if is_mine(f"{number:08x}-0000-4000-8000-0", names, name)
    )
    assert sum(share.values()) == 4000
    assert all(900 < count < 1100 for count in share.values())


def test_collectors_share_the_tenants(collector: Collector) -> None:
    seen: list[str] = []
    for name in ("one", "two"):
        collector.define(name=name, collectors=["one", "two"], collector=name, destinations=[{"path": f"/{name}"}])
        streams = collector.pull(name, check=True).streams
        seen += [str(stream.organization) for stream in streams]
    assert sorted(seen) == list(NAMES)


# --- moving -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def other(tenant: MockTenant, tmp_path: Path) -> Collector:
    found = Collector(tenant, tmp_path / "other")
    found.credential()
    found.define()
    return found


def test_a_tenant_moves_without_loss_and_without_doubles(
    collector: Collector, other: Collector, tenant: MockTenant, tmp_path: Path
) -> None:
    collector.define()
    collector.pull()
    file = str(tmp_path / "beta.jsonl")
    (moved,) = export_tenant(collector.job(), collector.state_dir, "beta", file)
    assert (moved.tenant_id, moved.versions) == (tenant.tenants[1]["tenant_id"], 30)
    # It is not pulled here any more, whatever the job says.
    errors = [stream.error.code for stream in collector.pull(insists=True).streams if stream.error]
    assert errors == ["job.moved"]
    import_tenants(other.job(), other.state_dir, file)
    import_tenants(other.job(), other.state_dir, file)
    tenant.add_alerts(3, tenant=moved.tenant_id)
    report = other.pull(since="21h")
    assert [stream.new for stream in report.streams] == [30, 3, 30]
    # And back.
    back = str(tmp_path / "back.jsonl")
    export_tenant(other.job(), other.state_dir, moved.tenant_id, back)
    import_tenants(collector.job(), collector.state_dir, back)
    assert [stream.new for stream in collector.pull(insists=True).streams][1] == 0
    both = ids_of(collector.events) + ids_of(other.events)
    assert {both[alert] for alert, _time, _raw in tenant.alerts("graph_alerts", tenant=moved.tenant_id)} == {1}


def test_when_a_collector_is_added_its_share_goes_there(
    collector: Collector, other: Collector, tenant: MockTenant, tmp_path: Path
) -> None:
    collector.define(collectors=["old"], collector="old")
    collector.pull()
    ids = [entry["tenant_id"] for entry in tenant.tenants]
    added = next(name for name in map(str, range(99)) if len({collector_of(one, ["old", name]) for one in ids}) == 2)
    collector.define(collectors=["old", added], collector="old")
    other.define(collectors=[added, "old"], collector=added)
    left = export_leaving(collector.job(), collector.state_dir, str(tmp_path))
    assert {item.tenant_id for item in left} == {one for one in ids if collector_of(one, ["old", added]) == added}
    assert {item.collector for item in left} == {added}
    for item in left:
        import_tenants(other.job(), other.state_dir, item.path)
    reports = [one.pull(insists=True).to_dict() for one in (collector, other)]
    assert [report["new"] for report in reports] == [0, 0]
    assert sorted(stream["tenant_id"] for report in reports for stream in report["streams"]) == sorted(ids)
    assert export_leaving(collector.job(), collector.state_dir, str(tmp_path)) == []


def test_a_tenant_can_be_taken_back_without_the_other_collector(collector: Collector, tmp_path: Path) -> None:
    collector.define()
    collector.pull()
    export_tenant(collector.job(), collector.state_dir, "Beta", str(tmp_path / "lost.jsonl"))
    assert collector.pull(insists=True).failure() is not None
    assert len(take_back(collector.job(), collector.state_dir, "Beta")) == 1
    report = collector.pull(insists=True)
    assert (report.failure(), report.to_dict()["new"]) == (None, 0)


def test_an_export_that_fails_leaves_the_tenant_where_it_is(collector: Collector, tmp_path: Path) -> None:
    collector.define()
    collector.pull()
    for path, who, code in (
        (tmp_path / "no" / "file", "Beta", "job.file"),
        (tmp_path, "Beta", "job.file"),
        (tmp_path / "x", "Nobody", "job.tenant"),
    ):
        with pytest.raises(JobError) as caught:
            export_tenant(collector.job(), collector.state_dir, who, str(path))
        assert caught.value.code == code
    assert collector.pull().failure() is None


def test_what_waits_in_the_outbox_is_not_left_behind(collector: Collector, tmp_path: Path) -> None:
    collector.define(destinations=[{"path": str(tmp_path / "away" / "out.jsonl")}])
    collector.pull()
    with pytest.raises(JobError) as caught:
        export_tenant(collector.job(), collector.state_dir, "Beta", str(tmp_path / "x"))
    assert caught.value.code == "job.pending"
    assert "30 events" in caught.value.message


@pytest.mark.parametrize("damage", [b"", b"{}\n", b"[]\n[]\n", b"\xff"])
def test_a_damaged_file_is_not_imported(collector: Collector, tmp_path: Path, damage: bytes) -> None:
    collector.define()
    collector.pull()
    path = tmp_path / "beta.jsonl"
    export_tenant(collector.job(), collector.state_dir, "Beta", str(path))
    path.write_bytes(damage or path.read_bytes()[:-30])
    with pytest.raises(JobError) as caught:
        import_tenants(collector.job(), collector.state_dir, str(path))
    assert caught.value.code == "job.file"
