# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The four APIs: what they serve is the truth, whole, in order, and within Microsoft's limits."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from mock_api import MockTenant
from mock_api.clock import SECOND, parse_time, time_text
from mock_client import IDS, PATHS, TIMES, Client, error_of, raw_rows, rows, serve

ODATA = ("graph_alerts", "graph_incidents", "mde_alerts")
EXPAND = {"graph_incidents": {"$expand": "alerts"}, "mde_alerts": {"$expand": "evidence"}}
ORDER = {"$orderby": "lastUpdateDateTime"}


@pytest.fixture(scope="module", params=["compact", "lines"])
def busy(request: pytest.FixtureRequest) -> Iterator[MockTenant]:
    """A tenant in which much has happened: ties, alerts that came late, alerts that changed."""
    knobs = {"layout": request.param, "mde_orderby": "honoured", "page_limits": {"mde_alerts": 50}}
    with serve(alerts=200, big_tie=90, **knobs) as tenant:
        tenant.add_alerts(12)
        tenant.add_alerts(7, tie=True)
        tenant.add_alerts(5, late_seconds=5000)
        tenant.update_alerts(4)
        tenant.update_alerts([entry[0] for entry in list(tenant.alerts())[30:60]], tie=True)
        yield tenant


def truth_of(tenant: MockTenant, api: str) -> dict[str, bytes]:
    return {alert_id: raw for alert_id, _time, raw in tenant.alerts(api, unknown_members=True)}


def served(api: str, pages: list[Any]) -> tuple[dict[str, bytes], int]:
    """(id -> bytes, how many rows in all)"""
    found = [(row[IDS[api]], raw) for page in pages for row, raw in raw_rows(page)]
    return dict(found), len(found)


# --- the whole of it, three ways --------------------------------------------------------------------------------------


@pytest.mark.parametrize("api", ["graph_alerts", "graph_incidents"])
@pytest.mark.parametrize("style", ["position", "offset"])
@pytest.mark.parametrize("order", ["", "lastUpdateDateTime", "createdDateTime desc"])
def test_by_links(busy: MockTenant, api: str, style: str, order: str) -> None:
    busy.configure(link_style=style)
    client = Client(busy)
    query = {"$top": "37", **({"$orderby": order} if order else {}), **EXPAND.get(api, {})}
    pages = [client.get(api, query)]
    while link := pages[-1].json().get("@odata.nextLink"):
        assert link.startswith(busy.url + PATHS[api])
        pages.append(client.fetch(link, client.headers(api)))
    found, amount = served(api, pages)
    assert found == truth_of(busy, api)
    assert amount == len(found)
    key = (order or "lastUpdateDateTime desc").split()
    times = [parse_time(row[key[0]]) for page in pages for row in rows(page)]
    assert times == sorted(times, reverse=key[-1] == "desc")


@pytest.mark.parametrize("api", ODATA)
def test_by_time(busy: MockTenant, api: str) -> None:
    """As a collector does: from the last time on, `ge`, and with $skip through a tie that is larger than a page."""
    client, name = Client(busy), TIMES[api]
    seen: dict[str, bytes] = {}
    last, skip = "2020-01-01T00:00:00Z", 0
    while True:
        query = {"$orderby": name, "$top": "40", "$filter": f"{name} ge {last}", "$skip": str(skip)}
        page = raw_rows(client.get(api, {**query, **EXPAND.get(api, {})}))
        seen.update((row[IDS[api]], raw) for row, raw in page)
        if len(page) < 40:
            break
        newest = page[-1][0][name]
        last, skip = (last, skip + 40) if newest == last else (newest, 0)
    assert seen == truth_of(busy, api)


def test_by_skip(busy: MockTenant) -> None:
    client = Client(busy)
    query = {"$top": "50", "$expand": "evidence"}
    pages = [client.get("mde_alerts", {**query, "$skip": str(skip)}) for skip in range(0, 300, 50)]
    assert len(rows(pages[-1])) < 50
    assert all("@odata.nextLink" not in page.json() for page in pages)
    found, amount = served("mde_alerts", pages)
    assert found == truth_of(busy, "mde_alerts")
    assert amount == len(found)


def test_by_windows(busy: MockTenant) -> None:
    """The alert exporter knows neither pages nor order."""
    client = Client(busy)
    truth = list(busy.alerts("alert_exporter"))
    found: dict[str, bytes] = {}
    amount = 0
    begin, end = parse_time(truth[0][1]), parse_time(truth[-1][1])
    step = (end - begin) // 5 + 1
    for first in range(begin, end + 1, step):
        window = {"sinceTimeUtc": time_text(first), "untilTimeUtc": time_text(first + step - 1)}
        part, number = served("alert_exporter", [client.get("alert_exporter", window)])
        found, amount = {**found, **part}, amount + number
    assert found == {full_id: raw for full_id, _time, raw in truth}
    assert amount == len(truth)


def test_the_truth_over_http_is_the_same(busy: MockTenant) -> None:
    client = Client(busy)
    for api in PATHS:
        text = client.fetch(f"{busy.control_url}/truth?api={api}&unknown_members=true", {}).text
        lines = [json.loads(line) for line in text.splitlines()]
        assert [(line["id"], line["size"]) for line in lines] == [
            (alert_id, len(raw)) for alert_id, _time, raw in busy.alerts(api, unknown_members=True)
        ]


def test_what_is_not_expanded_is_left_out(client: Client) -> None:
    truth = {alert_id: raw for alert_id, _time, raw in client.tenant.alerts("mde_alerts", expand=False)}
    assert served("mde_alerts", [client.get("mde_alerts")])[0] == truth
    assert all(row["evidence"] == [] for row in rows(client.get("mde_alerts")))
    assert all("alerts" not in row for row in rows(client.get("graph_incidents")))


def test_alerts_one_by_one(client: Client) -> None:
    tenant = client.tenant
    for api in ("graph_alerts", "mde_alerts"):
        alert_id, _time, raw = list(tenant.alerts(api, unknown_members=True))[17]
        url = f"{tenant.url}{PATHS[api]}/{alert_id}" + ("?$expand=evidence" if api == "mde_alerts" else "")
        found = client.fetch(url, client.headers(api)).json()
        assert found.pop("@odata.context").endswith("/$entity")
        assert found == json.loads(raw)
        assert client.fetch(f"{tenant.url}{PATHS[api]}/da0_0", client.headers(api)).status_code == 404
    incident_id, _time, raw = list(tenant.alerts("graph_incidents", unknown_members=True))[3]
    url = f"{tenant.url}{PATHS['graph_incidents']}/{incident_id}"
    alerts = rows(client.fetch(f"{url}/alerts", client.headers("graph_incidents")))
    assert alerts == json.loads(raw)["alerts"]
    assert client.fetch(f"{url}?$expand=alerts", client.headers("graph_incidents")).json()["alerts"] == alerts
    missing = client.fetch(f"{tenant.url}{PATHS['graph_incidents']}/1", client.headers("graph_incidents"))
    assert error_of(missing, 404)["code"] == "NotFound"


# --- limits -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large() -> Iterator[Client]:
    with serve(alerts=10_200, ties=4) as tenant:
        yield Client(tenant)


def test_graph_alerts_take_a_top_of_1000_and_a_skip_of_500(large: Client) -> None:
    first = large.get("graph_alerts")
    assert len(rows(first)) == 1000
    # More is taken down without a word.
    clamped = large.get("graph_alerts", {"$top": "5000"})
    assert rows(clamped) == rows(first)
    assert "@odata.nextLink" in clamped.json()
    assert len(rows(large.get("graph_alerts", {"$skip": "500", "$top": "2"}))) == 2
    error = error_of(large.get("graph_alerts", {"$skip": "501"}), 400)
    assert error["code"] == ""
    assert "The limit of '500' for Skip query has been exceeded" in error["message"]


def test_graph_incidents_take_a_top_of_50(large: Client) -> None:
    assert len(rows(large.get("graph_incidents"))) == 50
    error = error_of(large.get("graph_incidents", {"$top": "51"}), 400)
    assert error["code"] == ""
    assert "The query specified in the URI is not valid. The limit of '50' for Top query has been" in error["message"]


def test_mde_alerts_take_a_top_of_10000_and_give_no_link_with_it(large: Client) -> None:
    whole = large.get("mde_alerts")
    assert len(rows(whole)) == 10_000
    assert len(rows(large.fetch(whole.json()["@odata.nextLink"], large.headers("mde_alerts")))) == 200
    assert "@odata.nextLink" not in large.get("mde_alerts", {"$top": "10"}).json()
    assert error_of(large.get("mde_alerts", {"$top": "10001"}), 400)["code"] == "ODataError"
    assert len(rows(large.get("mde_alerts", {"$skip": "10190", "$top": "100"}))) == 10
    assert rows(large.get("mde_alerts", {"$skip": "20000"})) == []


def test_no_link_where_links_are_off(tenant: MockTenant) -> None:
    tenant.configure(links="off")
    client = Client(tenant)
    for api in ("graph_alerts", "graph_incidents"):
        assert "@odata.nextLink" not in client.get(api, {"$top": "3"}).json()


def test_a_link_may_stand_first_or_last(tenant: MockTenant) -> None:
    client = Client(tenant)
    assert list(client.get("graph_alerts", {"$top": "3"}).json()) == ["@odata.context", "@odata.nextLink", "value"]
    tenant.configure(link_last=True)
    assert list(client.get("graph_alerts", {"$top": "3"}).json()) == ["@odata.context", "value", "@odata.nextLink"]


def test_an_empty_page_has_no_link(client: Client) -> None:
    assert client.get("graph_alerts", {"$top": "0", "$count": "true"}).json()["@odata.count"] == 300
    assert "@odata.nextLink" not in client.get("graph_alerts", {"$top": "0"}).json()


def test_a_link_holds_while_alerts_arrive(tenant: MockTenant) -> None:
    client = Client(tenant)
    before = {entry[0] for entry in tenant.alerts()}
    page = client.get("graph_alerts", {"$top": "50"})
    found = [row["id"] for row in rows(page)]
    while link := page.json().get("@odata.nextLink"):
        tenant.add_alerts(3)
        page = client.fetch(link, client.headers("graph_alerts"))
        found += [row["id"] for row in rows(page)]
    assert sorted(found) == sorted(before)


# --- what is asked for ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("api", ODATA)
@pytest.mark.parametrize(
    ("query", "text"),
    [
        ({"$filter": "severity = 'high'"}, "Syntax error"),
        ({"$filter": "incidentWebUrl eq 'x'"}, "Could not find a property"),
        ({"$filter": "severity eq 'terrible'"}, "not a valid enumeration"),
        ({"$filter": "createdTimes ge 2026-01-01T00:00:00Z"}, "Could not find a property"),
        ({"$top": "x"}, "Invalid value 'x' for $top"),
        ({"$top": "-1"}, "Invalid value '-1' for $top"),
        ({"$skip": "x"}, "Invalid value 'x' for $skip"),
        ({"$skiptoken": "%%%"}, "Skip token is not valid"),
        ({"$select": "id"}, "not supported"),
        ("$top=1&$top=2", "more than once"),
    ],
)
def test_bad_queries(client: Client, api: str, query: Any, text: str) -> None:
    error = error_of(client.get(api, query), 400)
    assert text in error["message"]
    assert error["code"] in ("BadRequest", "ODataError", "SkipToken")


def test_filters_that_are_not_allowed_everywhere(client: Client) -> None:
    assert client.get("graph_alerts", {"$filter": "investigationState eq 'running'"}).status_code == 400
    assert client.get("graph_alerts", {"$filter": "category eq 'Malware'"}).status_code == 400
    assert client.get("mde_alerts", {"$filter": "category eq 'Malware'"}).status_code == 200
    assert client.get("graph_incidents", {"$filter": "serviceSource eq 'x'"}).status_code == 400
    assert client.get("graph_alerts", {"$expand": "evidence"}).status_code == 400
    assert client.get("graph_incidents", {"$expand": "evidence"}).status_code == 400
    assert client.get("mde_alerts", {"$expand": "alerts"}).status_code == 400
    # Graph's names are exact; Defender's own are not.
    assert client.get("graph_alerts", {"$filter": "Severity eq 'high'"}).status_code == 400
    assert client.get("mde_alerts", {"$filter": "SEVERITY eq 'High'"}).status_code == 200


@pytest.mark.parametrize(
    ("api", "text"),
    [
        ("graph_alerts", "severity eq 'high'"),
        ("graph_alerts", "status in ('new','inProgress') and not (severity eq 'low')"),
        ("graph_alerts", "serviceSource eq 'microsoftDefenderForIdentity' or assignedTo eq 'asmith@contoso.example'"),
        ("graph_alerts", "classification eq null"),
        ("graph_incidents", "severity eq 'high' and status ne 'resolved'"),
        ("mde_alerts", "severity eq 'Medium' and status eq 'New'"),
        ("mde_alerts", "detectionSource eq 'WindowsDefenderAv' or incidentId eq 10003"),
        ("mde_alerts", "investigationId ne null"),
    ],
)
def test_filters_select_by_what_the_alerts_say(client: Client, api: str, text: str) -> None:
    checks: dict[str, Any] = {
        "severity eq 'high'": lambda row: row["severity"] == "high",
        "status in": lambda row: row["status"] in ("new", "inProgress") and row["severity"] != "low",
        "serviceSource": lambda row: (
            row["serviceSource"] == "microsoftDefenderForIdentity" or row["assignedTo"] == "asmith@contoso.example"
        ),
        "classification": lambda row: row["classification"] is None,
        "severity eq 'high' and": lambda row: row["severity"] == "high" and row["status"] != "resolved",
        "severity eq 'Medium'": lambda row: row["severity"] == "Medium" and row["status"] == "New",
        "detectionSource": lambda row: row["detectionSource"] == "WindowsDefenderAv" or row["incidentId"] == 10003,
        "investigationId": lambda row: row["investigationId"] is not None,
    }
    check = checks[max((key for key in checks if text.startswith(key)), key=len)]
    everything = [json.loads(raw) for _id, _time, raw in client.tenant.alerts(api)]
    wanted = [str(row[IDS[api]]) for row in everything if check(row)][::-1]
    assert wanted
    query = {"$filter": text, "$count": "true"}
    assert client.ids(api, query) == wanted[: len(client.ids(api, query))]
    assert client.get(api, query).json()["@odata.count"] == len(wanted)


def test_order_of_graph(client: Client) -> None:
    truth = [entry[0] for entry in client.tenant.alerts()]
    assert client.ids("graph_alerts") == truth[::-1]
    for text in (
        "$orderby=lastUpdateDateTime",
        "$orderby=lastUpdateDateTime+asc",
        "$orderby=lastUpdateDateTime%20asc",
        "%24orderby=lastUpdateDateTime%20ASC",
    ):
        assert client.ids("graph_alerts", text) == truth
    assert client.ids("graph_alerts", "$orderby=lastUpdateDateTime+desc") == truth[::-1]
    assert client.ids("graph_alerts", "$orderby=lastUpdateDateTime%20desc") == truth[::-1]
    for text in ("title", "lastUpdateDateTime,id", "lastUpdateDateTime up", ""):
        assert error_of(client.get("graph_alerts", {"$orderby": text}), 400)["code"] == "BadRequest"
    moment = list(client.tenant.alerts())[100][1]
    encoded = f"$filter=lastUpdateDateTime+ge+{moment}&$orderby=lastUpdateDateTime"
    assert client.ids("graph_alerts", encoded) == client.ids("graph_alerts", encoded.replace("+", "%20"))
    assert client.ids("graph_alerts", encoded)[0] in truth[95:101]


def test_bounds_of_time_are_exact(client: Client) -> None:
    entries = [(parse_time(text), alert_id) for alert_id, text, _raw in client.tenant.alerts()]
    moment = entries[150][0]
    words: tuple[tuple[str, Callable[[int], bool]], ...] = (
        ("gt", lambda ticks: ticks > moment),
        ("ge", lambda ticks: ticks >= moment),
        ("lt", lambda ticks: ticks < moment),
        ("le", lambda ticks: ticks <= moment),
        ("eq", lambda ticks: ticks == moment),
        ("ne", lambda ticks: ticks != moment),
    )
    for word, fits in words:
        query = {"$filter": f"lastUpdateDateTime {word} {time_text(moment)}", **ORDER}
        assert client.ids("graph_alerts", query) == [alert_id for ticks, alert_id in entries if fits(ticks)]


def test_order_of_mde(tenant: MockTenant) -> None:
    client = Client(tenant)
    truth = [entry[0] for entry in tenant.alerts("mde_alerts")]
    assert client.ids("mde_alerts") == truth[::-1]
    assert client.ids("mde_alerts", {"$orderby": "lastUpdateTime asc"}) == truth[::-1]
    assert client.ids("mde_alerts", {"$orderby": "anything at all"}) == truth[::-1]
    tenant.configure(mde_orderby="honoured")
    assert client.ids("mde_alerts", {"$orderby": "lastUpdateTime"}) == truth
    tenant.configure(mde_orderby="refused")
    assert error_of(client.get("mde_alerts", {"$orderby": "lastUpdateTime"}), 400)["code"] == "ODataError"


def test_unknown_members_are_hidden_from_those_who_do_not_ask(client: Client) -> None:
    old = rows(client.get("graph_alerts", Prefer="odata.maxpagesize=9"))
    new = rows(client.get("graph_alerts"))
    assert {row["serviceSource"] for row in old} - {row["serviceSource"] for row in new} == {"unknownFutureValue"}
    assert "microsoftSentinel" in {row["serviceSource"] for row in new}


def test_only_get(client: Client) -> None:
    for api in ODATA:
        url = client.tenant.url + PATHS[api]
        response = client.session.post(url, headers=client.headers(api), verify=client.tenant.ca_path)
        assert response.status_code == 405
    assert client.fetch(client.tenant.url + "/v1.0/security/nothing", {}).status_code == 404
    assert client.fetch(client.tenant.url + "/api/incidents", {}).status_code == 404


# --- the alert exporter -----------------------------------------------------------------------------------------------


def test_exporter_answers_with_a_bare_array_without_order(client: Client) -> None:
    since = {"sinceTimeUtc": "2020-01-01T00:00:00.000"}
    response = client.get("alert_exporter", since)
    assert isinstance(response.json(), list)
    times = [parse_time(row["LastProcessedTimeUtc"]) for row in response.json()]
    assert times not in (sorted(times), sorted(times, reverse=True))
    truth = {full_id: raw for full_id, _time, raw in client.tenant.alerts("alert_exporter")}
    assert served("alert_exporter", [response]) == (truth, len(truth))
    # One alert has several rows.
    assert len({row["AlertId"] for row in response.json()}) == 300 < len(truth)


def test_exporter_limits_keep_the_newest(client: Client) -> None:
    query = {"sinceTimeUtc": "2020-01-01T00:00:00", "limit": "20"}
    times = [parse_time(row["LastProcessedTimeUtc"]) for row in rows(client.get("alert_exporter", query))]
    everything = sorted(parse_time(text) for _id, text, _raw in client.tenant.alerts("alert_exporter"))
    assert sorted(times) == everything[-20:]


def test_exporter_defaults_to_two_hours(client: Client) -> None:
    now = client.tenant.clock.ticks()
    for query, span in (("", 7200), ("ago=PT10M", 600), ("ago=pt1h", 3600)):
        wanted = {
            full_id
            for full_id, text, _raw in client.tenant.alerts("alert_exporter")
            if parse_time(text) >= now - span * SECOND + 5 * SECOND
        }
        found = set(client.ids("alert_exporter", query))
        assert wanted <= found
        assert len(found) < 700
    assert len(set(client.ids("alert_exporter"))) > len(set(client.ids("alert_exporter", "ago=PT1M")))


def test_exporter_parameters(client: Client) -> None:
    since = "sinceTimeUtc=2020-01-01T00:00:00"
    everything = rows(client.get("alert_exporter", since))
    linux = rows(client.get("alert_exporter", f"{since}&machinegroups=linux"))
    assert linux and {row["MachineGroup"] for row in linux} == {"Linux"}
    both = rows(client.get("alert_exporter", f"{since}&machinegroups=Linux&machinegroups=Mac"))
    assert {row["MachineGroup"] for row in both} == {"Linux", "Mac"}
    # The limit counts what the groups have left.
    assert len(rows(client.get("alert_exporter", f"{since}&machinegroups=Mac&limit=5"))) == 5
    assert len(rows(client.get("alert_exporter", f"{since}&CloudCreatedMachineTags=tag a"))) == len(everything)
    assert rows(client.get("alert_exporter", f"{since}&CloudCreatedMachineTags=other")) == []
    assert rows(client.get("alert_exporter", f"{since}&DeviceCreatedMachineTags=Tag A")) == []
    quoted = 'sinceTimeUtc="2020-01-01 00:00:00"&untilTimeUtc=2020-01-02T00:00:00'
    assert rows(client.get("alert_exporter", quoted)) == []
    for query in ("sinceTimeUtc=yesterday", "ago=10m", "limit=some"):
        response = client.get("alert_exporter", query)
        assert (response.status_code, list(response.json())) == (400, ["Message"])


def test_two_apis_share_a_path(client: Client) -> None:
    """Without Microsoft's names the token decides; with them, the name does."""
    assert isinstance(client.get("alert_exporter").json(), list)
    assert isinstance(client.get("mde_alerts").json(), dict)
    for path in ("/api/Alerts/", "/API/alerts", "/api/v1.0/alerts"):
        assert client.fetch(client.tenant.url + path, client.headers("mde_alerts")).status_code == 200
    exporter = {"Host": "wdatp-alertexporter-us.windows.com"}
    assert isinstance(client.get("alert_exporter", "", **exporter).json(), list)
    assert client.get("mde_alerts", "", **exporter).status_code == 401
    assert client.get("graph_alerts", "", **exporter).status_code == 404
    names = ("api.securitycenter.microsoft.com", "eu.api.security.microsoft.com", "api-gcc.securitycenter.microsoft.us")
    for host in names:
        assert client.get("mde_alerts", Host=host).status_code == 200
        assert client.get("alert_exporter", Host=host).status_code == 401
    assert client.get("graph_alerts", Host="graph.microsoft.us").status_code == 200
    assert client.get("mde_alerts", Host="graph.microsoft.us").status_code == 404
    assert client.get("graph_alerts", Host="login.microsoftonline.com").status_code == 404


# --- change, pace, company --------------------------------------------------------------------------------------------


def test_alerts_arrive_while_it_runs(tenant: MockTenant) -> None:
    client = Client(tenant)
    newest = list(tenant.alerts())[-1]
    added = tenant.add_alerts(3)
    late = tenant.add_alerts(2, late_seconds=3600)
    tied = tenant.add_alerts(4, tie=True)
    assert client.ids("graph_alerts", {"$filter": f"lastUpdateDateTime gt {newest[1]}", **ORDER}) == added + tied
    everything = rows(client.get("graph_alerts", ORDER))
    times = {row["id"]: parse_time(row["lastUpdateDateTime"]) for row in everything}
    assert len({times[alert_id] for alert_id in (*tied, added[-1])}) == 1
    assert all(3590 * SECOND < tenant.clock.ticks() - times[alert_id] < 3700 * SECOND for alert_id in late)
    before = {row["id"]: row for row in everything}
    changed = tenant.update_alerts([late[0], newest[0]])
    after = {row["id"]: row for row in rows(client.get("graph_alerts", ORDER))}
    assert len(after) == len(before) == 129
    for alert_id in changed:
        assert after[alert_id]["status"] != before[alert_id]["status"]
        assert parse_time(after[alert_id]["lastUpdateDateTime"]) > times[alert_id]
        assert after[alert_id]["createdDateTime"] == before[alert_id]["createdDateTime"]
    # Their incidents follow.
    incident = after[newest[0]]["incidentId"]
    newest_incidents = rows(client.get("graph_incidents", {"$top": "2", "$expand": "alerts"}))
    assert incident in {row["id"] for row in newest_incidents}
    for row in newest_incidents:
        assert row["lastUpdateDateTime"] == max((item["lastUpdateDateTime"] for item in row["alerts"]), key=parse_time)
    with pytest.raises(ValueError, match="no such alerts"):
        tenant.update_alerts(["da0_0"])


def test_new_data_is_never_answered_from_old_pages(tenant: MockTenant) -> None:
    client = Client(tenant)
    for seed in range(2, 8):
        first = client.ids("graph_alerts")
        tenant.configure(seed=seed)
        assert client.ids("graph_alerts") != first
        assert client.ids("graph_alerts") == [entry[0] for entry in tenant.alerts()][::-1]


def test_pages_are_kept_up_to_a_size(tenant: MockTenant) -> None:
    client = Client(tenant)
    for megabytes in (0, 1, 256):
        tenant.configure(cache_megabytes=megabytes, alerts=300, size=4000)
        for _round in range(2):
            assert client.ids("graph_alerts", {"$top": "250"}) == [entry[0] for entry in tenant.alerts()][::-1][:250]


def test_rate_limits(tenant: MockTenant) -> None:
    tenant.configure(rate_limits={"graph": [3, 0], "mde": [0, 2]})
    client = Client(tenant)
    assert [client.get("graph_alerts").status_code for _call in range(4)] == [200, 200, 200, 429]
    refused = client.get("graph_incidents")
    assert error_of(refused, 429)["code"] == "TooManyRequests"
    assert 55 <= int(refused.headers["Retry-After"]) <= 60
    assert [client.get("mde_alerts").status_code for _call in range(3)] == [200, 200, 429]
    assert 3500 <= int(client.get("mde_alerts").headers["Retry-After"]) <= 3600
    # A minute later.
    tenant.configure(clock_skew_seconds=61)
    assert client.get("graph_alerts").status_code == 200


def test_microsofts_own_rate_limits(tenant: MockTenant) -> None:
    tenant.configure(rate_limits=True)
    client = Client(tenant)
    assert [client.get("mde_alerts", {"$top": "1"}).status_code for _call in range(101)] == [200] * 100 + [429]


def test_several_clients_at_once(shared: MockTenant) -> None:
    truth = [entry[0] for entry in shared.alerts()][::-1]

    def walk(top: int) -> list[str]:
        client = Client(shared)
        page = client.get("graph_alerts", {"$top": str(top)})
        found = [row["id"] for row in rows(page)]
        while link := page.json().get("@odata.nextLink"):
            page = client.fetch(link, client.headers("graph_alerts"))
            found += [row["id"] for row in rows(page)]
        return found

    with ThreadPoolExecutor(8) as pool:
        assert all(found == truth for found in pool.map(walk, [17, 40, 17, 40, 60, 90, 100, 300]))


def test_gzip(tenant: MockTenant) -> None:
    client = Client(tenant)
    plain = client.get("graph_alerts", Accept_Encoding="identity")
    packed = client.get("graph_alerts", Accept_Encoding="gzip, deflate")
    assert packed.headers["Content-Encoding"] == "gzip" and "Content-Encoding" not in plain.headers
    assert int(packed.headers["Content-Length"]) < int(plain.headers["Content-Length"]) / 3
    assert packed.content == plain.content
    tenant.configure(gzip=False)
    assert "Content-Encoding" not in client.get("graph_alerts").headers
