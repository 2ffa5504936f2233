# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fault script: each word does what it says, to the requests that were meant."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
import requests
from mock_api import MockTenant
from mock_api.faults import DO
from mock_client import Client, error_of, rows, serve


def fail(tenant: MockTenant, do: dict[str, Any], **match: Any) -> Client:
    tenant.set_faults([{"match": match, "do": do}])
    return Client(tenant)


def statuses(client: Client, calls: int, api: str = "graph_alerts") -> list[int]:
    return [client.get(api, {"$top": "1"}).status_code for _call in range(calls)]


# --- which requests ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ({}, [503, 503, 503, 503, 503]),
        ({"n": 2}, [200, 503, 200, 200, 200]),
        ({"n": [1, 4]}, [503, 200, 200, 503, 200]),
        ({"every": 2}, [200, 503, 200, 503, 200]),
        ({"from": 3}, [200, 200, 503, 503, 503]),
        ({"times": 2}, [503, 503, 200, 200, 200]),
        ({"from": 2, "times": 1}, [200, 503, 200, 200, 200]),
        ({"leg": "graph_alerts", "n": 1}, [503, 200, 200, 200, 200]),
        ({"leg": "token"}, [200, 200, 200, 200, 200]),
        ({"leg": "api", "n": 1}, [503, 200, 200, 200, 200]),
        ({"path": "alerts_v[23]$", "n": 1}, [503, 200, 200, 200, 200]),
        ({"query": r"\$top=1", "n": 5}, [200, 200, 200, 200, 503]),
        ({"method": "POST"}, [200, 200, 200, 200, 200]),
    ],
)
def test_match(tenant: MockTenant, match: dict[str, Any], expected: list[int]) -> None:
    client = fail(tenant, {"status": 503}, **match)
    assert statuses(client, 5) == expected


def test_one_tenant_of_several() -> None:
    with serve(alerts=5, tenants=2) as tenant:
        first, second = (entry["tenant_id"] for entry in tenant.tenants)
        tenant.set_faults([{"match": {"tenant": second.upper()}, "do": {"status": 500}}])
        assert [Client(tenant, name).get("graph_alerts").status_code for name in (first, second)] == [200, 500]
        assert [Client(tenant, name).ask_token().status_code for name in (first, second)] == [200, 500]
        tenant.set_faults([{"match": {"tenant": second, "leg": "token"}, "do": {"aadsts": 700016}}])
        body = Client(tenant, second).ask_token().json()
        assert body["error_codes"] == [700016]
        assert f"'{tenant.client_id}' was not found in the directory '{second}'" in body["error_description"]


def test_the_first_rule_that_fits_counts(tenant: MockTenant) -> None:
    tenant.set_faults(
        [{"match": {"n": 1}, "do": {"status": 500}}, {"match": {"n": 1}, "do": {"status": 502}}, {"do": {"delay": 0}}]
    )
    assert statuses(Client(tenant), 3) == [500, 502, 200]
    assert [(rule["seen"], rule["fired"]) for rule in tenant.faults.describe()] == [(3, 1), (2, 1), (1, 1)]
    tenant.set_faults([])
    assert statuses(Client(tenant), 1) == [200]


@pytest.mark.parametrize(
    "rule",
    [
        None,
        {},
        {"match": {"n": 1}},
        {"do": {"explode": True}},
        {"match": {"host": "x"}, "do": {"status": 500}},
        {"when": {}, "do": {"status": 500}},
        {"do": {"status": "500"}},
        {"do": {"delay": "long"}},
        {"match": {"path": "("}, "do": {"status": 500}},
        {"match": {"leg": "graph"}, "do": {"status": 500}},
        {"match": {"every": 0}, "do": {"status": 500}},
        {"match": {"n": "1"}, "do": {"status": 500}},
        {"match": {"times": "x"}, "do": {"status": 500}},
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(tenant: MockTenant, rule: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        tenant.set_faults([rule])
    with pytest.raises(ValueError, match=r"."):
        serve(alerts=0, faults=[rule]).start()


# --- what happens to them ---------------------------------------------------------------------------------------------


def test_status_body_and_headers(tenant: MockTenant) -> None:
    response = fail(tenant, {"status": 429, "retry_after": 7, "headers": {"X-Why": "pace"}}).get("graph_alerts")
    assert (response.headers["Retry-After"], response.headers["X-Why"]) == ("7", "pace")
    assert error_of(response, 429)["code"] == "TooManyRequests"
    assert error_of(fail(tenant, {"status": 500}).get("mde_alerts"), 500)["target"]
    exporter = fail(tenant, {"status": 500}).get("alert_exporter", "ago=PT1H")
    assert list(exporter.json()) == ["Message"]
    assert fail(tenant, {"status": 503}).ask_token().json()["error"] == "temporarily_unavailable"
    page = fail(tenant, {"status": 502, "body": "<html>Bad gateway</html>"}).get("graph_alerts")
    assert (page.status_code, page.headers["Content-Type"], page.text) == (502, "text/html", "<html>Bad gateway</html>")
    given = fail(tenant, {"status": 400, "body": {"error": "x"}}).get("graph_alerts")
    assert (given.status_code, given.json()) == (400, {"error": "x"})
    date = fail(tenant, {"status": 503, "retry_after": "date:30"}).get("graph_alerts").headers["Retry-After"]
    assert 25 < parsedate_to_datetime(date).timestamp() - time.time() < 32
    nonsense = fail(tenant, {"status": 503, "retry_after": "soon"}).get("graph_alerts")
    assert nonsense.headers["Retry-After"] == "soon"


def test_body_with_what_was_sent(tenant: MockTenant) -> None:
    """As an inspecting proxy's error page shows it."""
    client = fail(tenant, {"status": 502, "body": "<p>{sent}</p>", "echo": True})
    page = client.get("graph_alerts")
    assert "Authorization: Bearer eyJ" in page.text
    assert "{sent}" not in page.text
    plain = fail(tenant, {"status": 502, "body": "<p>{sent}</p>"}).get("graph_alerts")
    assert plain.text == "<p>{sent}</p>"


def test_partial_answers_and_redirects(tenant: MockTenant) -> None:
    warning = '199 - "Microsoft/MDATP/504/10000"'
    response = fail(tenant, {"status": 206, "headers": {"Warning": warning}}).get("graph_alerts")
    assert (response.status_code, response.headers["Warning"], len(response.json()["value"])) == (206, warning, 120)
    client = fail(tenant, {"status": 302, "headers": {"Location": "https://elsewhere.example/"}})
    url = f"{tenant.url}/v1.0/security/alerts_v2"
    moved = client.session.get(
        url, headers=client.headers("graph_alerts"), verify=tenant.ca_path, allow_redirects=False
    )
    assert (moved.status_code, moved.headers["Location"]) == (302, "https://elsewhere.example/")


def test_bodies_that_are_not_what_they_should_be(tenant: MockTenant) -> None:
    page = fail(tenant, {"html_200": True}).get("graph_alerts")
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "Please sign in" in page.text
    half = fail(tenant, {"bad_json": True}).get("graph_alerts")
    assert half.status_code == 200
    with pytest.raises(ValueError, match=r"."):
        half.json()
    assert fail(tenant, {"bom": True}).get("graph_alerts").content[:4] == b"\xef\xbb\xbf{"
    assert fail(tenant, {"content_type": "text/plain"}).get("graph_alerts").headers["Content-Type"] == "text/plain"


def test_on_the_wire(tenant: MockTenant) -> None:
    gone = (requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError)
    for do in ({"reset": True}, {"truncate": 3000}, {"truncate": 0}):
        with pytest.raises(gone):
            fail(tenant, do).get("graph_alerts", Accept_Encoding="identity")
    assert [entry["status"] for entry in tenant.requests] == [0, 200, 200]
    started = time.monotonic()
    assert fail(tenant, {"delay": 0.2}).get("graph_alerts", {"$top": "1"}).status_code == 200
    assert 0.2 <= time.monotonic() - started < 2
    started = time.monotonic()
    dripped = fail(tenant, {"drip": 20_000}).get("graph_alerts", {"$top": "2"}, Accept_Encoding="identity")
    assert len(rows(dripped)) == 2
    assert time.monotonic() - started > len(dripped.content) / 20_000 * 0.8
    # The connection after a broken one is as good as new.
    assert statuses(fail(tenant, {"reset": True}, leg="token"), 1) == [200]


def test_links_that_lead_astray(tenant: MockTenant) -> None:
    link = "@odata.nextLink"
    query = {"$top": "10"}
    for given, start in ((True, "https://graph.microsoft.example/"), ("http://x.example", "http://x.example/")):
        assert fail(tenant, {"wrong_link": given}).get("graph_alerts", query).json()[link].startswith(start)
    assert link not in fail(tenant, {"drop_link": True}).get("graph_alerts", query).json()
    client = fail(tenant, {"repeat_link": True})
    first = client.get("graph_alerts", query)
    assert rows(client.fetch(first.json()[link], client.headers("graph_alerts"))) == rows(first)
    client = fail(tenant, {"empty_page_with_link": True}, n=1)
    empty = client.get("graph_alerts", query)
    assert rows(empty) == []
    assert len(rows(client.fetch(empty.json()[link], client.headers("graph_alerts")))) == 10
    client = fail(tenant, {"bad_skiptoken": True})
    second = client.fetch(client.get("graph_alerts", query).json()[link], client.headers("graph_alerts"))
    assert error_of(second, 400)["message"] == "Skip token is not valid."


def test_queries_that_are_not_obeyed(tenant: MockTenant) -> None:
    newest = [entry[0] for entry in tenant.alerts()][::-1]
    nothing = {"$filter": "lastUpdateDateTime ge 2999-01-01T00:00:00Z"}
    assert fail(tenant, {"ignore_filter": True}).ids("graph_alerts", nothing) == newest
    assert fail(tenant, {"ignore_orderby": True}).ids("graph_alerts", {"$orderby": "lastUpdateDateTime"}) == newest
    assert fail(tenant, {"clamp_top": 7}).ids("graph_alerts", {"$top": "50"}) == newest[:7]
    assert fail(tenant, {"clamp_top": 7}).ids("graph_alerts") == newest[:7]
    assert fail(tenant, {"clamp_top": 7}).get("graph_alerts", {"$top": "x"}).status_code == 400


def test_rows_that_are_not_what_they_should_be(tenant: MockTenant) -> None:
    newest = [entry[0] for entry in tenant.alerts()][::-1][:10]
    query = {"$top": "10"}
    shuffled = fail(tenant, {"shuffle": True}).ids("graph_alerts", query)
    assert shuffled != newest and sorted(shuffled) == sorted(newest)
    assert fail(tenant, {"duplicate_rows": 2}).ids("graph_alerts", query) == newest + newest[-2:]
    assert fail(tenant, {"drop_rows": 3}).ids("graph_alerts", query) == newest[:-3]
    for do in ({"duplicate_rows": 0}, {"drop_rows": 0}):
        assert fail(tenant, do).ids("graph_alerts", query) == newest
    client = fail(tenant, {"poison": newest[4]})
    assert error_of(client.get("graph_alerts", query), 500)["code"] == "InternalServerError"
    assert client.ids("graph_alerts", {"$top": "4"}) == newest[:4]
    assert client.ids("graph_alerts", {"$top": "5", "$skip": "5"}) == newest[5:]


def test_challenge_aadsts_and_clock(tenant: MockTenant) -> None:
    challenge = fail(tenant, {"claims_challenge": True}).get("graph_alerts")
    assert challenge.status_code == 401
    assert 'error="insufficient_claims"' in challenge.headers["WWW-Authenticate"]
    refused = fail(tenant, {"aadsts": 90033}).ask_token()
    assert (refused.status_code, refused.json()["error_codes"]) == (503, [90033])
    # Also on other legs than its own, as all answers.
    assert fail(tenant, {"ccp_error": "APPAP007E"}).get("graph_alerts").json()["ErrorCode"] == "APPAP007E"
    date = fail(tenant, {"date_skew": 3600}).get("graph_alerts").headers["Date"]
    assert 3590 < parsedate_to_datetime(date).timestamp() - time.time() < 3610


def test_a_fault_leaves_the_kept_pages_alone(tenant: MockTenant) -> None:
    client = Client(tenant)
    whole = client.get("graph_alerts").content
    tenant.set_faults([{"match": {"n": 1}, "do": {"drop_rows": 5, "headers": {"X-Bad": "1"}}}])
    assert len(rows(client.get("graph_alerts"))) == 115
    again = client.get("graph_alerts")
    assert again.content == whole
    assert "X-Bad" not in again.headers


def test_every_word_is_tried_here() -> None:
    with open(__file__, encoding="utf-8") as stream:
        text = stream.read()
    assert [word for word in DO if f'"{word}"' not in text] == []
