# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What other collectors of Defender alerts lost, as their issue trackers tell it: each reproduced as a whole pull.

Names, first sentences and the lines `Seen:` are the table docs/faults.md. test_peers_ways.py has those that are about
the way to Microsoft.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp import transport
from ansible_collections.secops.defender.plugins.module_utils._wdatp.store import Store
from ansible_collections.secops.defender.plugins.module_utils._wdatp.times import parse_time
from fault_job import ALL, ODATA, Job, reset, values
from mock_api import MockTenant

Make = Callable[..., Job]
# The alerts of a tenant, one by one: all but incidents, which change whenever one of theirs does.
ALERTS = ("graph_alerts", "mde_alerts", "alert_exporter")


def always(tenant: MockTenant, **do: Any) -> None:
    tenant.set_faults([{"match": {"leg": "api"}, "do": do}])


def test_peer_01_skip_stalls_at_500(nasty: MockTenant, job: Make) -> None:
    """The walk goes by update time, never by a growing $skip: a backlog of any size drains, links or none.

    Seen: elastic/integrations#20234 elastic/integrations#20348
    """
    reset(nasty, alerts=1300, links="off", cache_megabytes=0)
    made = job(page_size=100)
    result = made.run()
    assert (result["complete"], result["written"]) == (True, 1300)
    made.check()
    skips = [int(entry["query"].get("$skip", 0)) for entry in made.api_requests()]
    assert max(skips) <= 500
    assert {entry["status"] for entry in made.api_requests()} == {200}


@pytest.mark.parametrize("api", ALL)
def test_peer_02_cursor_never_advances_and_one_alert_comes_287_times(nasty: MockTenant, job: Make, api: str) -> None:
    """The cursor is read from the alerts, not from the body around them: it moves with each new one, and none repeats.

    Seen: elastic/integrations#21461
    """
    made = job(api=api)
    made.run()
    for _round in range(4):
        nasty.add_alerts(2)
        result = made.run()
        assert result["cursor"]["after"] == made.newest_time() != result["cursor"]["before"]
        assert result["written"] == result["new"] + result["updated"] >= 1
        again = made.run()
        assert (again["written"], again["changed"]) == (0, False)
    assert set(made.truth()) <= set(made.lines)
    assert max(Counter(made.lines).values()) == 1


@pytest.mark.parametrize("api", ["graph_incidents", "mde_alerts"])
def test_peer_03_expand_with_filter_gives_500_for_ever(nasty: MockTenant, job: Make, api: str) -> None:
    """The moment that fails when it is expanded is put aside alone; all others come, and `expand: false` fetches it.

    Seen: elastic/integrations#18144 elastic/integrations#18277
    """
    truth = list(nasty.alerts(api))
    name = truth[len(truth) // 2][0]
    nasty.set_faults([{"match": {"query": "expand="}, "do": {"poison": name}}])
    made = job(api=api, page_size=10, retries=0)
    first = made.run()
    assert (first["quarantined"], first["cursor"]["after"]) == (1, made.newest_time())
    assert 0 < len(truth) - first["new"] <= 3
    bare = made.run(expand=False)
    assert (bare["quarantined"], bare["complete"]) == (0, True)
    assert first["new"] + bare["new"] == len(truth)


@pytest.mark.parametrize("api", ALERTS)
def test_peer_04_fifty_in_the_portal_and_six_in_the_siem(nasty: MockTenant, job: Make, api: str) -> None:
    """Time is the update time, and each run reads back as far as this tenant's alerts were ever seen to be late.

    Seen: wazuh/wazuh#27457 wazuh/wazuh#24323 wazuh/wazuh#35661
    """
    reset(nasty, alerts=6)
    made = job(api=api)
    made.run()
    # Half an hour at first; then twice the latest that came.
    for minutes in (5, 28, 50, 90):
        nasty.add_alerts(10, late_seconds=minutes * 60)
        made.run()
    # Raised days ago, and changed only now.
    old = made.truth()[:2]
    names = [name for name, _time, _raw in nasty.alerts("graph_alerts")][:2]
    nasty.update_alerts(names)
    nasty.add_alerts(4)
    made.run()
    assert len({name for name, _time, _raw in nasty.alerts("graph_alerts")}) == 50
    if api == "alert_exporter":
        assert set(made.truth()) <= set(made.lines)
    else:
        made.check(*old)


def test_peer_05_success_in_the_log_and_nothing_delivered(nasty: MockTenant, job: Make, tmp_path: Path) -> None:
    """What was fetched is written or pending, in figures that add up; a destination that lacks it fails the run.

    Seen: wazuh/wazuh#39460 wazuh/wazuh#37940
    """
    late = tmp_path / "not mounted" / "events.jsonl"
    made = job(destinations=[{"path": str(late)}])
    result, error = made.fail()
    assert error.code == "destination.no_directory"
    assert (result["fetched"], result["written"], result["pending"]) == (40, 0, 40)
    assert "Waiting in the outbox: 40 events" in error.message
    nasty.add_alerts(2)
    result, error = made.fail()
    assert (result["written"], result["pending"]) == (0, 42)
    late.parent.mkdir()
    result = made.run()
    assert (result["written"], result["pending"], result["destinations"][0]["written"]) == (0, 0, 42)
    assert sorted(late.read_bytes().splitlines()) == sorted(made.truth())
    # And afterwards it can be asked whether it is true, of the file and not of the log.
    lines = late.read_bytes().splitlines(keepends=True)
    late.write_bytes(b"".join(lines[:10] + lines[13:]))
    said = made.run(reconcile="report")
    assert (said["reconciled"]["missing"], said["changed"]) == (3, False)
    assert set(said["reconciled"]["ids"]) == {values(line)["id"] for line in lines[10:13]}
    assert said["manifest"]["problems"]
    made.run(reconcile="fill")
    assert sorted(late.read_bytes().splitlines()) == sorted(made.truth())


@pytest.mark.parametrize("api", ALL)
def test_peer_06_throttling_is_taken_for_the_end_of_the_window(nasty: MockTenant, job: Make, api: str) -> None:
    """A 429 is waited for; where it lasts, the run says `complete: false` and the cursor stays at what is written.

    Seen: wazuh/wazuh#34652
    """
    nasty.set_faults([{"match": {"leg": "api", "every": 2}, "do": {"status": 429, "retry_after": "1"}}])
    made = job(api=api, page_size=8)
    result = made.run()
    assert result["complete"]
    assert result["throttled"] == len(made.slept) > 0
    made.check()
    other = job(made.path.parent / "other", api=api, page_size=8, retries=0)
    nasty.set_faults([{"match": {"leg": "api", "from": 3}, "do": {"status": 429}}])
    result, error = other.fail()
    assert (error.code, result["complete"]) == ("api.throttled", False)
    assert len(other.lines) == result["written"]
    nasty.set_faults([])
    assert other.run()["complete"]
    other.check()


def test_peer_07_a_hundred_a_page_is_refused_for_incidents(nasty: MockTenant, job: Make) -> None:
    """Each API has its own limit of rows in a table: more is never asked for, and the run says what it asks instead.

    Seen: wazuh/wazuh#28070 wazuh/wazuh#28208
    """
    made = job(api="graph_incidents", page_size=100)
    assert made.run()["complete"]
    made.check()
    assert {entry["query"]["$top"] for entry in made.api_requests()} == {"50"}
    assert any("page_size 100 is above the limit" in text for text in made.said)


@pytest.mark.parametrize("api", ["graph_incidents", "mde_alerts"])
def test_peer_07_the_limit_of_rows_is_lower_since_today(nasty: MockTenant, job: Make, api: str) -> None:
    """A refusal that names the limit for $top is taken at its word: the same question goes out again with that many.

    Seen: wazuh/wazuh#28070
    """
    reset(nasty, incident_size=1, page_limits={api: 7})
    made = job(api=api, page_size=20)
    result = made.run()
    assert (result["complete"], result["quarantined"]) == (True, 0)
    tops = [int(entry["query"]["$top"]) for entry in made.api_requests()]
    assert (tops[0], set(tops[1:])) == (20, {7})
    made.check()


@pytest.mark.parametrize("api", ALL)
def test_peer_09_works_at_first_and_gets_401_later(nasty: MockTenant, job: Make, api: str) -> None:
    """A token is replaced before its end, and once more for each 401 in mid-drain, whatever its lifetime said.

    Seen: OpenCTI-Platform/connectors#3325 wazuh/wazuh#30377
    """
    nasty.set_faults([{"match": {"leg": "api", "n": [2, 5]}, "do": {"status": 401}}])
    made = job(api=api, page_size=5)
    assert made.run()["complete"]
    assert len([entry for entry in nasty.requests if entry["leg"] == "token"]) == 3
    made.check()


def test_peer_12_alerts_come_again_when_their_incident_changes(nasty: MockTenant, job: Make) -> None:
    """An alert is told by its id and its own update time; one whose incident got company is not written again.

    Seen: OpenCTI-Platform/connectors#4335 elastic/integrations#9050
    """
    reset(nasty, incident_size=1000)
    made = job()
    made.run()
    # All alerts are of one incident.
    nasty.add_alerts(1)
    result = made.run(since="21h")
    assert (result["new"], result["updated"], result["duplicates"]) == (1, 0, 40)
    made.check()


def test_peer_12_alerts_come_again_that_were_touched_and_are_the_same(nasty: MockTenant, job: Make) -> None:
    """With `updates: changed`, an alert in which only the update time is new is counted, and not written again.

    Seen: OpenCTI-Platform/connectors#4335
    """
    made = job(updates="changed")
    made.run()
    before = made.lines
    dataset = nasty.dataset()
    # A resolved alert would change with its time: it says when it was resolved.
    number = next(number for number in range(40) if dataset.status(number) == "new")
    for _round in range(3):
        with dataset.lock:
            dataset.alerts.put(number, nasty.clock.ticks())
            dataset.version += 1
        result = made.run()
        # The ledger keeps texts from the moment on when it is told to compare them.
        assert (result["updated"], result["written"]) == (1, 0)
        assert result["cursor"]["after"] == made.newest_time()
    assert made.lines == before


@pytest.mark.parametrize("overlap", ["auto", "0s"])
@pytest.mark.parametrize("api", ALERTS)
def test_peer_13_alerts_with_the_same_time_are_skipped(nasty: MockTenant, job: Make, api: str, overlap: str) -> None:
    """A question includes the last time and leaves out the ids that are known there: ties never fall between two pages.

    Seen: demisto/content#45413 demisto/content#4282
    """
    reset(nasty, ties=13)
    made = job(api=api, page_size=10, overlap=overlap)
    made.run()
    made.check()
    # And not between two runs.
    for _round in range(2):
        nasty.add_alerts(3, tie=True)
        made.run()
    made.check()


@pytest.mark.parametrize("api", ALL)
def test_peer_14_a_limit_of_one_fetches_the_same_alert_again_and_again(nasty: MockTenant, job: Make, api: str) -> None:
    """Every limit makes progress: with pages of one row and one alert a run, each run writes the next one.

    Seen: demisto/content#26506
    """
    reset(nasty, alerts=6, ties=3, incident_size=1)
    made = job(api=api, page_size=1, max_events=1)
    total = len(made.truth())
    for number in range(total):
        assert made.run()["written"] == 1, number
        assert len(made.lines) == number + 1
    assert made.run()["written"] == 0
    made.check()


@pytest.mark.parametrize("fault", ["too slow", "too large"])
@pytest.mark.parametrize("api", ALL)
def test_peer_15_a_huge_answer_crashes_the_fetch(
    nasty: MockTenant, job: Make, monkeypatch: pytest.MonkeyPatch, api: str, fault: str
) -> None:
    """An answer that is too slow or too large is asked for again with half as many rows, down to ten, in the same run.

    Seen: https://github.com/demisto/content https://github.com/wazuh/wazuh
    """
    reset(nasty, incident_size=1)
    made = job(api=api, page_size=40, retries=0)
    if fault == "too large":
        whole = sum(map(len, made.truth()))
        monkeypatch.setattr(transport, "LARGEST_ANSWER", whole // 2)
    else:
        # Ten times the time-out of one read; here, a fraction of a second.
        monkeypatch.setattr(transport, "_PATIENCE", 0.02)
        sizes = {"match": {"leg": "api", "query": r"(top|limit)=(40|20)\b"}, "do": {"drip": 2000}}
        nasty.set_faults([sizes])
    result = made.run()
    assert (result["complete"], result["quarantined"]) == (True, 0)
    tops = [int(entry["query"].get("$top") or entry["query"].get("limit") or 0) for entry in made.api_requests()]
    assert tops[0] == 40
    assert 10 <= min(tops[1:4]) <= 20
    made.check()


@pytest.mark.parametrize("api", ALERTS)
def test_peer_16_an_alert_over_64_kib_is_cut_or_refused(nasty: MockTenant, job: Make, api: str) -> None:
    """A line is as long as its alert: 300 KB come uncut, byte for byte, on one line.

    Seen: wazuh/wazuh#17689 wazuh/wazuh#14550
    """
    reset(nasty, alerts=3, size=300_000, layout="lines")
    made = job(api=api)
    assert made.run()["written"] == len(made.truth()) >= 3
    made.check()
    assert all(len(line) > 100_000 and values(line) for line in made.lines)
    assert max(map(len, made.lines)) > 250_000


@pytest.mark.parametrize("api", ALL)
def test_peer_17_times_in_the_filter_are_refused(nasty: MockTenant, job: Make, api: str) -> None:
    """Times go out as UTC with `Z` and at most seven digits, percent-encoded; the cursor is Microsoft's own text.

    Seen: SEKOIA-IO/automation-library#2691
    """
    reset(nasty, big_tie=12)
    made = job(api=api, page_size=5)
    for _run in range(2):
        result = made.run(until="1m")
    assert result["cursor"]["after"] == made.newest_time()
    for entry in made.api_requests():
        assert "+" not in entry["raw_query"]
        assert " " not in entry["raw_query"]
        asked = " ".join(text for name, text in entry["query"].items() if name in ("$filter",) or "Utc" in name)
        times = re.findall(r"\d{4}-\d\d-\d\dT\S+", asked)
        assert times
        assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,7})?Z?", text) for text in times)
        assert api == "alert_exporter" or all(text.endswith("Z") for text in times)


@pytest.mark.parametrize("api", ODATA)
def test_peer_18_the_service_ignores_the_filter(nasty: MockTenant, job: Make, api: str) -> None:
    """Every row is held against the filter: none from outside is written; a full page of them is `api.filter_ignored`.

    Seen: microsoftgraph/security-api-solutions#23 microsoftgraph/microsoft-graph-docs#8203
    """
    always(nasty, ignore_filter=True, ignore_orderby=True)
    made = job(api=api, page_size=5, until="10h")
    result, error = made.fail()
    assert error.code == "api.filter_ignored"
    assert (result["written"], result["cursor"]["after"]) == (0, None)
    nasty.set_faults([])
    assert made.run(until=None)["complete"]
    made.check()


@pytest.mark.parametrize("api", ["graph_alerts", "graph_incidents"])
def test_peer_19_every_skiptoken_is_rejected_since_today(nasty: MockTenant, job: Make, api: str) -> None:
    """A rejected link is replaced in the same run: by time, and within one moment by $skip.

    Seen: microsoftgraph/msgraph-sdk-dotnet#2566
    """
    reset(nasty, big_tie=30, incident_size=1)
    always(nasty, bad_skiptoken=True)
    made = job(api=api, page_size=7, expand=False)
    result = made.run()
    assert (result["complete"], result["quarantined"]) == (True, 0)
    assert Counter(made.lines) == Counter(made.truth(expand=False))
    assert 400 in {entry["status"] for entry in made.api_requests()}


@pytest.mark.parametrize("api", ["graph_alerts", "graph_incidents"])
def test_peer_20_new_enum_values_are_hidden(nasty: MockTenant, job: Make, api: str) -> None:
    """Every question to Graph asks for the members that are younger than its version (Prefer header).

    Seen: elastic/integrations#12573
    """
    made = job(api=api, page_size=10)
    made.run()
    assert {entry["headers"].get("Prefer") for entry in made.api_requests()} == {"include-unknown-enum-members"}
    hidden, shown = made.truth(unknown_members=False), made.truth(unknown_members=True)
    assert any(b"unknownFutureValue" in raw for raw in hidden)
    assert not any(b"unknownFutureValue" in raw for raw in shown)
    assert Counter(made.lines) == Counter(shown)


@pytest.mark.parametrize("api", ALERTS)
def test_peer_24_the_cursor_is_lost_or_reset_on_restart(nasty: MockTenant, job: Make, api: str) -> None:
    """The cursor commits with each page's alerts, not at the end: a run that is cut off goes on where it was.

    Seen: elastic/beats#24800 ansible/event-driven-ansible#169 datahub-project/datahub#19403
    """
    made = job(api=api, page_size=5, overlap="0s")

    class Killed(BaseException):
        """Nothing catches it, as nothing catches a signal."""

    def before(number: int) -> None:
        # How many questions come before the first page that is whole depends on when the test runs.
        if number >= 7 and made.path.exists() and made.path.stat().st_size:
            raise Killed

    made.before = before
    with pytest.raises(Killed):
        made.run()
    written = len(made.lines)
    assert 0 < written < len(made.truth())
    with Store(str(made.state)) as store:
        ((value,),) = store._db.execute("SELECT value FROM cursor").fetchall()
    name = {"graph_alerts": "lastUpdateDateTime", "mde_alerts": "lastUpdateTime"}.get(api, "LastProcessedTimeUtc")
    assert parse_time(value) == max(parse_time(values(line)[name]) for line in made.lines)
    made.before = lambda number: None
    result = made.run()
    assert (result["complete"], result["written"]) == (True, len(made.truth()) - written)
    assert parse_time(result["cursor"]["before"]) == parse_time(value)
    made.check()


@pytest.mark.parametrize("api", ALL)
@pytest.mark.parametrize("fault", [{"status": 403}, {"status": 503}, {"reset": True}], ids=["403", "503", "reset"])
def test_peer_25_a_page_that_failed_is_skipped(nasty: MockTenant, job: Make, api: str, fault: dict[str, Any]) -> None:
    """A page that fails ends the run, or is asked for until it comes: the cursor never passes what was not read.

    Seen: elastic/beats#52996
    """
    reset(nasty, big_tie=20)
    made = job(api=api, page_size=8, retries=0)
    for failing in (2, 3, 4):
        nasty.set_faults([{"match": {"leg": "api", "n": failing}, "do": fault}])
        made.report()
        held = made.lines
        assert set(held) <= set(made.truth())
        assert len(set(held)) == len(held)
    nasty.set_faults([])
    assert made.run()["complete"]
    made.check()


@pytest.mark.parametrize("api", ALERTS)
def test_peer_26_nobody_notices_that_a_source_went_silent(nasty: MockTenant, job: Make, api: str) -> None:
    """`silent_seconds` says how old the newest alert is by Microsoft's clock, also of runs in which nothing came.

    Seen: wazuh/wazuh#30822
    """
    reset(nasty, alerts=0)
    made = job(api=api)
    assert made.run()["silent_seconds"] is None
    nasty.add_alerts(1)
    assert made.run()["silent_seconds"] <= 5
    nasty.configure(clock_skew_seconds=7200)
    for _run in range(2):
        result = made.run()
        assert (result["complete"], result["new"]) == (True, 0)
        assert 7195 <= result["silent_seconds"] <= 7205
        assert result["streams"][0]["silent_seconds"] == result["silent_seconds"]
        # All is well, and that is no measure of it.
        assert result["lag_seconds"] < 60


def test_peer_27_alerts_are_in_the_portal_and_not_in_this_api(nasty: MockTenant, job: Make, tmp_path: Path) -> None:
    """`reconcile` holds what the API gives now against what was delivered, and names and fills what it had hidden.

    Seen: https://techcommunity.microsoft.com/search?q=%22Missing%20Alerts%20when%20calling%20List%20Alerts%22
    """
    made = job(overlap="5m")
    nasty.add_alerts(1)
    made.run()
    # Three hours ago, the API gave all but these, and said that this was all.
    names = nasty.add_alerts(5, late_seconds=3 * 3600)
    assert made.run()["new"] == 0
    reported = made.run(reconcile="report")["reconciled"]
    assert (reported["api"], reported["delivered"], reported["missing"]) == (46, 41, 5)
    assert set(reported["ids"]) == set(names)
    # Another API that has them is pulled into a file of its own, from which the same ids can be read.
    other = job(tmp_path / "other", api="mde_alerts")
    other.run()
    assert set(reported["ids"]) <= {values(line)["id"] for line in other.lines}
    filled = made.run(reconcile="fill")
    assert (filled["reconciled"]["filled"], filled["written"]) == (5, 5)
    made.check()


@pytest.mark.parametrize("updates", ["all", "changed"])
@pytest.mark.parametrize("api", ["graph_alerts", "mde_alerts"])
def test_peer_28_evidence_is_filled_in_minutes_later(nasty: MockTenant, job: Make, api: str, updates: str) -> None:
    """An alert that grows after it was read comes again in full, as an update; the first version stays as it was.

    Seen: Azure/Azure-Sentinel#4661 Azure/Azure-Sentinel#10372
    """
    made = job(api=api, updates=updates)
    made.run()
    earlier = {name: raw for name, _time, raw in nasty.alerts(api)}
    changed: list[str] = []
    for _minute in range(3):
        changed += nasty.update_alerts(1)
        result = made.run()
        assert (result["updated"], result["written"]) == (1, 1)
        versions = [line for line in made.lines if json.loads(line)["id"] == changed[-1]]
        assert versions[-1] == {name: raw for name, _time, raw in nasty.alerts(api)}[changed[-1]]
        assert versions[0] == earlier[changed[-1]]
