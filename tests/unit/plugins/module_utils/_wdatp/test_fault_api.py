# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the APIs and the way to them fail. Names and first sentences are the table docs/faults.md."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp import auth, pull, transport
from ansible_collections.secops.defender.plugins.module_utils._wdatp.times import parse_time
from fault_job import ALL, Job, reset, values
from mock_api import MockTenant

Make = Callable[..., Job]
# How each API says when an alert was updated.
TIMES = {
    "graph_alerts": "lastUpdateDateTime",
    "graph_incidents": "lastUpdateDateTime",
    "mde_alerts": "lastUpdateTime",
    "alert_exporter": "LastProcessedTimeUtc",
}


def nth(tenant: MockTenant, number: int | list[int], **do: Any) -> None:
    """The nth answer of an API has this fault."""
    tenant.set_faults([{"match": {"leg": "api", "n": number}, "do": do}])


def always(tenant: MockTenant, **do: Any) -> None:
    tenant.set_faults([{"match": {"leg": "api"}, "do": do}])


class Clock:
    """The module time, whose monotonic clock can be put forward."""

    def __init__(self, ahead: Callable[[], float]) -> None:
        self._ahead = ahead

    def monotonic(self) -> float:
        return time.monotonic() + self._ahead()

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


# --- throttled, and down -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("api", ALL)
@pytest.mark.parametrize(
    ("retry_after", "waits"), [("7", (7, 7)), ("date:7", (6, 8)), (None, (0, 0))], ids=["seconds", "date", "none"]
)
def test_fault_service_throttles_with_429(
    nasty: MockTenant, job: Make, api: str, retry_after: str | None, waits: tuple[int, int]
) -> None:
    """It is waited as long as Retry-After says, seconds or a date; without one, longer from try to try."""
    nth(nasty, 2, status=429, **({"retry_after": retry_after} if retry_after else {}))
    made = job(api=api, page_size=8)
    result = made.run()
    assert (result["complete"], result["throttled"], result["retried"]) == (True, 1, 1)
    assert len(made.slept) == 1
    assert waits[0] <= made.slept[0] <= waits[1]
    made.check()


@pytest.mark.parametrize("api", ALL)
def test_fault_service_throttles_for_longer_than_anybody_waits(nasty: MockTenant, job: Make, api: str) -> None:
    """Asked to wait for more than five minutes, the run ends with `api.throttled`; the next one goes on there."""
    nasty.set_faults([{"match": {"leg": "api", "from": 3}, "do": {"status": 429, "retry_after": "3600"}}])
    made = job(api=api, page_size=8)
    _result, error = made.fail()
    assert error.code == "api.throttled"
    assert "3600 s" in error.remedy
    assert made.slept == []
    nasty.set_faults([])
    made.later = 3600
    assert made.run()["complete"]
    made.check()


@pytest.mark.parametrize("api", ALL)
@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_fault_service_fails_for_a_moment(nasty: MockTenant, job: Make, api: str, status: int) -> None:
    """An answer of 500, 502, 503 or 504 is asked for again, after a pause that grows."""
    nth(nasty, [2, 3], status=status)
    made = job(api=api, page_size=8)
    result = made.run()
    assert (result["complete"], result["retried"], result["quarantined"]) == (True, 2, 0)
    assert made.slept == sorted(made.slept)
    made.check()


@pytest.mark.parametrize("api", ALL)
@pytest.mark.parametrize("status", [503, 504])
def test_fault_service_is_down(nasty: MockTenant, job: Make, api: str, status: int) -> None:
    """An outage ends the run with `api.unavailable`: nothing is put aside, the cursor stays, the next run goes on."""
    nasty.set_faults([{"match": {"leg": "api", "from": 3}, "do": {"status": status}}])
    made = job(api=api, page_size=8)
    result, error = made.fail()
    assert (error.code, result["quarantined"], result["complete"]) == ("api.unavailable", 0, False)
    assert len(made.lines) == result["written"]
    nasty.set_faults([])
    assert made.run()["complete"]
    made.check()


@pytest.mark.parametrize("api", ALL)
def test_fault_one_alert_makes_every_answer_fail(nasty: MockTenant, job: Make, api: str) -> None:
    """The moment of a lasting 500 is narrowed down, put aside and reported; each later run tries it once more."""
    truth = list(nasty.alerts(api))
    name = truth[len(truth) // 2][0].split(":")[0]
    always(nasty, poison=name)
    made = job(api=api, page_size=10, retries=0)
    first = made.run()
    assert not first["complete"]
    assert first["quarantined"] >= 1
    hidden = len(truth) - first["new"]
    assert 0 < hidden < len(truth) // 4
    assert first["cursor"]["after"] == made.newest_time()
    assert any("put aside" in text and "tries them again" in text for text in made.said)
    nasty.clear_requests()
    second = made.run()
    assert (second["complete"], second["written"], second["quarantined"]) == (False, 0, first["quarantined"])
    # What is known to be bad is asked for alone; the way to it is not searched again.
    assert len(made.api_requests()) < 30
    nasty.set_faults([])
    third = made.run()
    assert (third["complete"], third["written"], third["quarantined"]) == (True, hidden, 0)
    made.check()


# --- answers that are none -----------------------------------------------------------------------------------------

BROKEN = [{"reset": True}, {"truncate": 200}, {"bad_json": True}, {"html_200": True}, {"body": ""}]


@pytest.mark.parametrize("api", ALL)
@pytest.mark.parametrize("fault", BROKEN, ids=["reset", "cut off", "half of the JSON", "sign-in page", "empty"])
def test_fault_answer_breaks_off_or_is_something_else(
    nasty: MockTenant, job: Make, api: str, fault: dict[str, Any]
) -> None:
    """A reset, a body that is cut off, half of the JSON, HTML with 200, an empty body: asked for again at once."""
    nth(nasty, [1, 4], **fault)
    made = job(api=api, page_size=8)
    result = made.run()
    assert (result["complete"], result["quarantined"]) == (True, 0)
    assert result["retried"] in (1, 2)
    made.check()


@pytest.mark.parametrize("api", ALL)
def test_fault_every_answer_is_a_proxys_sign_in_page(nasty: MockTenant, job: Make, api: str) -> None:
    """HTML with 200 that lasts is `network.not_json`, shown with its first line; what came before is kept."""
    nasty.set_faults([{"match": {"leg": "api", "from": 3}, "do": {"html_200": True}}])
    made = job(api=api, page_size=8)
    result, error = made.fail()
    assert error.code == "network.not_json"
    assert "<!DOCTYPE html>" in error.message
    assert result["quarantined"] == 0
    assert len(made.api_requests()) < 20
    nasty.set_faults([])
    assert made.run()["complete"]
    made.check()


@pytest.mark.parametrize("api", ALL)
def test_fault_answer_drips(nasty: MockTenant, job: Make, monkeypatch: pytest.MonkeyPatch, api: str) -> None:
    """An answer that trickles in never times out by itself: the whole has a deadline, and is asked for again."""
    nth(nasty, 1, drip=1000)
    # Ten times the time-out of one read; here, a fraction of a second.
    monkeypatch.setattr(transport, "_PATIENCE", 0.02)
    made = job(api=api, page_size=8, timeout=10)
    started = time.monotonic()
    result = made.run()
    assert result["complete"]
    assert result["retried"] >= 1
    assert time.monotonic() - started < 5
    made.check()


@pytest.mark.parametrize("api", ALL)
@pytest.mark.parametrize("fault", [{"bom": True}, {"content_type": "text/plain"}], ids=["BOM", "content type"])
def test_fault_answer_has_a_byte_order_mark_or_a_wrong_content_type(
    nasty: MockTenant, job: Make, api: str, fault: dict[str, Any]
) -> None:
    """What can be read is read, whatever its header says; a byte order mark gets into no line."""
    always(nasty, **fault)
    made = job(api=api, page_size=8)
    result = made.run()
    assert (result["complete"], result["retried"]) == (True, 0)
    made.check()


@pytest.mark.parametrize("api", ALL)
def test_fault_answer_is_partial_content(nasty: MockTenant, job: Make, api: str) -> None:
    """HTTP 206 is what it says: its rows are written, the cursor stays where it is, the next run asks again."""
    nth(nasty, 2, status=206, drop_rows=5)
    made = job(api=api, page_size=8)
    result = made.run()
    assert not result["complete"]
    after = result["cursor"]["after"]
    missing = set(made.truth()) - set(made.lines)
    # Nothing of what is missing lies before the cursor.
    assert all(after is None or parse_time(values(raw)[TIMES[api]]) >= parse_time(after) for raw in missing)
    assert made.run()["complete"]
    made.check()


@pytest.mark.parametrize("api", ALL)
@pytest.mark.parametrize("body", ['{"values": []}', '"[]"', "7", "null", '{"value": 3}'])
def test_fault_answer_holds_no_list(nasty: MockTenant, job: Make, api: str, body: str) -> None:
    """JSON without a list of alerts is never an empty answer, but the error `network.no_list`."""
    nasty.set_faults([{"match": {"leg": "api", "from": 2}, "do": {"body": body}}])
    made = job(api=api, page_size=8)
    result, error = made.fail()
    assert error.code in ("network.no_list", "network.not_json")
    assert not result["complete"]
    nasty.set_faults([])
    assert made.run()["complete"]
    made.check()


@pytest.mark.parametrize("api", ALL)
def test_fault_answer_is_a_redirect(nasty: MockTenant, job: Make, api: str) -> None:
    """A redirect is never followed with a token; it is the error `api.redirect`."""
    always(nasty, status=302, headers={"Location": "https://elsewhere.example/"})
    made = job(api=api)
    _result, error = made.fail()
    assert error.code == "api.redirect"
    assert made.lines == []


# --- the token -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("api", ALL)
def test_fault_token_expires_in_mid_drain(
    nasty: MockTenant, job: Make, monkeypatch: pytest.MonkeyPatch, api: str
) -> None:
    """A token is replaced five minutes before its end, also between two pages."""
    reset(nasty, token_lifetime=301)
    made = job(api=api, page_size=4)
    ahead = 0.0

    def before(number: int) -> None:
        nonlocal ahead
        ahead = 100.0 * number

    made.before = before
    monkeypatch.setattr(auth, "time", Clock(lambda: ahead))
    assert made.run()["complete"]
    tokens = [entry for entry in nasty.requests if entry["leg"] == "token"]
    assert len(tokens) > 1
    made.check()


@pytest.mark.parametrize("api", ALL)
@pytest.mark.parametrize("fault", [{"claims_challenge": True}, {"status": 401}], ids=["challenge", "plain 401"])
def test_fault_token_is_revoked_in_mid_drain(nasty: MockTenant, job: Make, api: str, fault: dict[str, Any]) -> None:
    """A 401 in mid-drain gets a new token once, with what the claims challenge demands, and the page again."""
    nth(nasty, [3, 6], **fault)
    made = job(api=api, page_size=4)
    assert made.run()["complete"]
    tokens = [entry for entry in nasty.requests if entry["leg"] == "token"]
    assert len(tokens) == 3
    made.check()


@pytest.mark.parametrize("api", ALL)
@pytest.mark.parametrize(("status", "code"), [(401, "api.unauthorized"), (403, "api.forbidden")])
def test_fault_token_is_rejected_for_good(nasty: MockTenant, job: Make, api: str, status: int, code: str) -> None:
    """A second 401, or a 403, ends the run with the right that is missing; what was written is safe."""
    nasty.set_faults([{"match": {"leg": "api", "from": 3}, "do": {"status": status}}])
    made = job(api=api, page_size=8)
    result, error = made.fail()
    assert error.code == code
    assert len(made.api_requests()) <= 5
    assert f"Written and safe in this run: {len(made.lines)} events" in error.message
    after = result["cursor"]["after"]
    newest = max((parse_time(values(line)[TIMES[api]]) for line in made.lines), default=None)
    assert (None if after is None else parse_time(after)) == newest
    nasty.set_faults([])
    assert made.run()["complete"]
    made.check()


# --- budgets -------------------------------------------------------------------------------------------------------


def drained(made: Job, **budget: Any) -> list[dict[str, Any]]:
    """Run after run until everything is there; no byte is ever taken back."""
    results: list[dict[str, Any]] = []
    while not (results and results[-1]["complete"]):
        before = made.path.read_bytes() if made.path.exists() else b""
        results.append(made.run(**budget))
        assert made.path.read_bytes().startswith(before)
        assert results[-1]["written"] > 0 or results[-1]["complete"]
        assert len(results) < 60, "the runs do not come to an end"
    return results


@pytest.mark.parametrize("api", ALL)
@pytest.mark.parametrize("budget", [{"max_events": 7}, {"max_bytes": 5_000}], ids=["max_events", "max_bytes"])
def test_fault_budget_of_events_or_bytes_ends_within_a_tie(
    nasty: MockTenant, job: Make, api: str, budget: dict[str, int]
) -> None:
    """A budget ends a run at an exact event, also among equal times, and the next run goes on with the one after it."""
    reset(nasty, alerts=24, big_tie=16, incident_size=1)
    made = job(api=api, page_size=5, expand=False)
    results = drained(made, **budget)
    assert len(results) > 1
    if "max_events" in budget:
        assert all(result["written"] == 7 for result in results[:-1])
    assert sorted(made.lines) == sorted(made.truth(expand=False))


@pytest.mark.parametrize("api", ALL)
def test_fault_budget_of_time_ends_in_mid_drain(
    nasty: MockTenant, job: Make, monkeypatch: pytest.MonkeyPatch, api: str
) -> None:
    """max_seconds ends a run behind a page, cleanly; each run gets further, and nothing is read twice into the file."""
    reset(nasty, alerts=24, incident_size=1)
    made = job(api=api, page_size=5, expand=False)
    ahead = 0.0

    def before(number: int) -> None:
        nonlocal ahead
        ahead += 2.0

    made.before = before
    monkeypatch.setattr(pull, "time", Clock(lambda: ahead))
    results = drained(made, max_seconds=3)
    assert len(results) > 1
    assert sorted(made.lines) == sorted(made.truth(expand=False))
