# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an API can do to the walk through its pages. Names and first sentences are the table docs/faults.md."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp import paging
from ansible_collections.secops.defender.plugins.module_utils._wdatp.sources.graph_alerts import GraphAlerts
from fault_job import ALL, ODATA, Job, reset, values
from mock_api import MockTenant

Make = Callable[..., Job]


def always(tenant: MockTenant, **do: Any) -> None:
    """Every answer of every API has this fault."""
    tenant.set_faults([{"match": {"leg": "api"}, "do": do}])


def page_of(tenant: MockTenant, api: str, first: int, last: int) -> Any:
    """The body of an answer with these rows of the truth."""
    rows = [values(raw) for _id, _time, raw in list(tenant.alerts(api))[first:last]]
    return rows if api == "alert_exporter" else {"value": rows}


# --- next links ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("api", ODATA)
def test_fault_next_link_is_given(nasty: MockTenant, job: Make, api: str) -> None:
    """A link is followed only within one moment, where time can't lead on; the walk is complete with links."""
    reset(nasty, big_tie=20)
    made = job(api=api, page_size=8)
    assert made.run()["complete"]
    made.check()


@pytest.mark.parametrize("api", ALL)
def test_fault_next_link_is_missing(nasty: MockTenant, job: Make, api: str) -> None:
    """A full page without a link is never taken for the end: the next question begins at the last row's own time."""
    reset(nasty, big_tie=20, links="off")
    made = job(api=api, page_size=8)
    assert made.run()["complete"]
    made.check()


@pytest.mark.parametrize("api", ODATA)
def test_fault_next_link_is_refused_as_expired(nasty: MockTenant, job: Make, api: str) -> None:
    """A refused skiptoken costs nothing: the walk goes on by time and by $skip in the same run."""
    reset(nasty, big_tie=20)
    always(nasty, bad_skiptoken=True)
    made = job(api=api, page_size=8)
    assert made.run()["complete"]
    made.check()
    assert api == "mde_alerts" or 400 in [entry["status"] for entry in made.api_requests()]


@pytest.mark.parametrize("api", ODATA)
def test_fault_next_link_repeats_for_ever(nasty: MockTenant, job: Make, api: str) -> None:
    """A link that was followed once is not followed again; the walk ends, with everything."""
    reset(nasty, big_tie=20)
    always(nasty, repeat_link=True)
    made = job(api=api, page_size=8)
    assert made.run()["complete"]
    made.check()
    # Links without end make no answer of the Defender for Endpoint API look whole: it is asked for single moments.
    assert len(made.api_requests()) < (500 if api == "mde_alerts" else 80)


@pytest.mark.parametrize("api", ODATA)
def test_fault_empty_page_has_a_link(nasty: MockTenant, job: Make, api: str) -> None:
    """An empty page with a link is no end: the link is followed to the rows."""
    nasty.set_faults([{"match": {"leg": "api", "every": 2}, "do": {"empty_page_with_link": True}}])
    made = job(api=api, page_size=8)
    assert made.run()["complete"]
    made.check()


@pytest.mark.parametrize("api", ODATA)
def test_fault_empty_pages_lead_on_by_links_for_ever(nasty: MockTenant, job: Make, api: str) -> None:
    """After a hundred empty pages in a row the service is taken at its word that there is nothing."""
    always(nasty, empty_page_with_link=True)
    made = job(api=api, page_size=8)
    made.report()
    assert len(made.api_requests()) < 250
    nasty.set_faults([])
    assert made.run()["complete"]
    made.check()


@pytest.fixture
def foreign() -> Iterator[tuple[str, list[bytes]]]:
    """A host of somebody else: its address, and all that was ever sent to it."""
    got: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    client, _address = server.accept()
                except OSError:
                    return
                with client:
                    client.settimeout(1)
                    got.append(b"connected: ")
                    try:
                        got.append(client.recv(65536))
                    except OSError:
                        got.append(b"nothing")

        threading.Thread(target=serve, daemon=True).start()
        yield f"https://127.0.0.1:{server.getsockname()[1]}", got
        # Wakes the accept.
        server.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("api", ODATA)
def test_fault_next_link_leads_to_another_host(
    nasty: MockTenant, job: Make, foreign: tuple[str, list[bytes]], api: str
) -> None:
    """No foreign host is ever asked, so none sees the token; the walk goes on by time and by $skip."""
    address, got = foreign
    reset(nasty, big_tie=20)
    always(nasty, wrong_link=address)
    made = job(api=api, page_size=8)
    assert made.run()["complete"]
    made.check()
    assert got == []


# --- sizes of pages ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("api", ALL)
def test_fault_page_is_clamped_below_what_was_asked(nasty: MockTenant, job: Make, api: str) -> None:
    """A page is only whole if it is smaller than an earlier one, or if the rest is shown to be empty."""
    # An exporter that hides rows of one moment, even where it is asked for all of them, can't be found out.
    reset(nasty, big_tie=0 if api == "alert_exporter" else 20, links="off")
    always(nasty, clamp_top=7)
    made = job(api=api, page_size=20)
    assert made.run()["complete"]
    made.check()


def test_fault_skip_ceiling_is_reached(nasty: MockTenant, job: Make) -> None:
    """A moment that $skip can't cross is divided by the time of creation, and $skip never goes beyond its limit."""
    reset(nasty, alerts=620, big_tie=620, links="off", page_limits={"graph_alerts": 50})
    made = job(page_size=50)
    assert made.run()["complete"]
    made.check()
    skips = [int(entry["query"].get("$skip", 0)) for entry in made.api_requests()]
    assert max(skips) == 500
    assert any("createdDateTime" in entry["query"]["$filter"] for entry in made.api_requests())


@pytest.mark.parametrize("links", ["on", "off"])
@pytest.mark.parametrize("api", ALL)
def test_fault_one_moment_holds_more_than_a_page(nasty: MockTenant, job: Make, api: str, links: str) -> None:
    """A moment that fills whole pages is crossed by link, by $skip or without a limit, as the API allows."""
    reset(nasty, big_tie=36, incident_size=1, links=links)
    made = job(api=api, page_size=5)
    assert made.run()["complete"]
    made.check()


def test_fault_one_moment_holds_more_than_anything_can_reach(
    nasty: MockTenant, job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A moment that can't be divided is written as far as it can be read; the rest is put aside, named and counted."""
    reset(nasty, alerts=700, big_tie=620, links="off", page_limits={"graph_alerts": 50})
    monkeypatch.setattr(GraphAlerts, "part_time", lambda self, event: None)
    made = job(page_size=50)
    result = made.run()
    assert (result["complete"], result["quarantined"]) == (False, 1)
    assert any("More than 550 alerts" in text and "$skip ends at 500" in text for text in made.said)
    # All but those beyond its reach: also those behind the moment.
    assert len(made.lines) == result["written"] == 700 - (620 - 550)
    assert result["cursor"]["after"] == made.newest_time()
    monkeypatch.undo()


# --- order ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("api", ALL)
def test_fault_rows_come_out_of_order(nasty: MockTenant, job: Make, api: str) -> None:
    """Order is seen, not trusted: where rows are mixed, spans are halved until an answer is whole."""
    always(nasty, ignore_orderby=True, shuffle=True)
    made = job(api=api, page_size=8)
    assert made.run()["complete"]
    made.check()


@pytest.mark.parametrize("api", ALL)
def test_fault_rows_come_twice_on_one_page_and_on_the_next(nasty: MockTenant, job: Make, api: str) -> None:
    """A row counts and is written once, however often it comes."""
    always(nasty, duplicate_rows=5)
    made = job(api=api, page_size=8)
    result = made.run()
    assert result["complete"]
    assert result["new"] == len(made.truth())
    made.check()


# --- while the walk runs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("api", ["graph_alerts", "mde_alerts", "alert_exporter"])
def test_fault_alerts_arrive_behind_the_walk_while_it_runs(nasty: MockTenant, job: Make, api: str) -> None:
    """What appears behind the walk comes with the next run's overlap, and shifts nothing of this one's pages."""
    reset(nasty, big_tie=12, span="25m")
    made = job(api=api, page_size=5)
    added: list[str] = []

    def before(number: int) -> None:
        if number in (2, 4, 6):
            added.extend(nasty.add_alerts(3, late_seconds=24 * 60))

    made.before = before
    first = made.run()
    made.before = lambda number: None
    second = made.run()
    assert len(added) == 9
    assert first["new"] + second["new"] == len(made.truth())
    assert second["complete"]
    made.check()


@pytest.mark.parametrize("api", ["graph_alerts", "mde_alerts", "alert_exporter"])
def test_fault_alerts_move_away_behind_the_walk_while_it_runs(nasty: MockTenant, job: Make, api: str) -> None:
    """An alert that is updated under way comes in its newest version; none beside it slips through the gap."""
    reset(nasty, big_tie=12)
    made = job(api=api, page_size=5)
    names = [name for name, _time, _raw in nasty.alerts("graph_alerts")]
    earlier = set(made.truth())

    def before(number: int) -> None:
        if number in (2, 3, 4):
            nasty.update_alerts([names[number]])

    made.before = before
    made.run()
    made.before = lambda number: None
    assert made.run()["complete"]
    held = Counter(made.lines)
    assert set(made.truth()) <= set(held) <= set(made.truth()) | earlier
    assert set(held.values()) == {1}


@pytest.mark.parametrize("api", ["graph_alerts", "mde_alerts"])
def test_fault_alerts_come_faster_than_they_can_be_read(
    nasty: MockTenant, job: Make, monkeypatch: pytest.MonkeyPatch, api: str
) -> None:
    """A run ends at the moment at which it caught up; what comes after that is the next run's."""
    # What it allows for clocks that differ would take as many seconds of a test.
    monkeypatch.setattr(paging, "_END_SLACK", 0)
    made = job(api=api, page_size=5)
    # Oldest first, a page brings the walk nearer by as many as have come; else it takes several questions for a page.
    more = 5 if api.startswith("graph") else 1
    made.before = lambda number: nasty.add_alerts(more) and None
    made.run()
    made.before = lambda number: None
    assert made.run()["complete"]
    assert set(made.truth()) <= set(made.lines)
    assert len(set(made.lines)) == len(made.lines)


# --- an API that does not do as it is told -------------------------------------------------------------------------


@pytest.mark.parametrize("api", ALL)
def test_fault_filter_is_ignored_by_the_service(nasty: MockTenant, job: Make, api: str) -> None:
    """Every row is held against the question: what lies outside is not written, and full pages of it are an error."""
    always(nasty, ignore_filter=True)
    made = job(api=api, page_size=5, initial_lookback="1h")
    nasty.add_alerts(3)
    report = made.report()
    error = report.streams[0].error
    assert error is None or error.code == "api.filter_ignored"
    early = {raw for _id, time, raw in nasty.alerts(api) if time < made.newest_time()[:10]}
    assert not early & set(made.lines)
    nasty.set_faults([])
    assert made.run(since="21h", page_size=None)["complete"]
    made.check()


@pytest.mark.parametrize("page_size", [5, 1000])
@pytest.mark.parametrize("api", ALL)
def test_fault_the_same_page_answers_every_question(nasty: MockTenant, job: Make, api: str, page_size: int) -> None:
    """A page from outside of the time asked for ends the run with `api.filter_ignored`; the cursor stays behind."""
    # As a cache on the way would that does not look at the query.
    always(nasty, body=page_of(nasty, api, 10, 15))
    made = job(api=api, page_size=page_size)
    report = made.report()
    assert len(made.api_requests()) < 300
    assert report.streams[0].error is not None or report.streams[0].after == names_of(nasty, api)[14][1]
    seen = len(made.lines)
    assert seen <= 5
    nasty.set_faults([])
    result = made.run(since="21h")
    assert (result["complete"], result["written"]) == (True, len(made.truth()) - seen)


def names_of(tenant: MockTenant, api: str) -> list[tuple[str, str]]:
    return [(name, time) for name, time, _raw in tenant.alerts(api)]
