# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each API is asked, word for word, and what is an event's id, version and time."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp.clouds import APIS
from ansible_collections.secops.defender.plugins.module_utils._wdatp.errors import OptionError
from ansible_collections.secops.defender.plugins.module_utils._wdatp.page import CONTENT, Event
from ansible_collections.secops.defender.plugins.module_utils._wdatp.sources.base import (
    EVERYTHING,
    Part,
    Source,
    Span,
    odata_string,
)
from ansible_collections.secops.defender.plugins.module_utils._wdatp.sources.registry import SOURCES, source_of
from ansible_collections.secops.defender.plugins.module_utils._wdatp.times import SECOND, parse_time

LOW, HIGH = parse_time("2026-11-24T08:00:00.1234567Z"), parse_time("2026-11-24T09:00:00Z")
LOW_TEXT, HIGH_TEXT = "2026-11-24T08:00:00.1234567Z", "2026-11-24T09:00:00.0000000Z"
CLOSED, OPEN = Span(LOW, HIGH), Span(LOW, None)
ODATA = ("graph_alerts", "graph_incidents", "mde_alerts")
TIMES = {
    "graph_alerts": "lastUpdateDateTime",
    "graph_incidents": "lastUpdateDateTime",
    "mde_alerts": "lastUpdateTime",
    "alert_exporter": "LastProcessedTimeUtc",
}


def test_every_api_has_a_source() -> None:
    assert tuple(SOURCES) == APIS
    assert all(source_of(api).name == api for api in APIS)


# --- queries -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("api", "expand", "wanted"),
    [
        (
            "graph_alerts",
            True,
            [
                ("$filter", f"lastUpdateDateTime ge {LOW_TEXT} and lastUpdateDateTime le {HIGH_TEXT}"),
                ("$top", "7"),
                ("$orderby", "lastUpdateDateTime asc"),
            ],
        ),
        (
            "graph_incidents",
            True,
            [
                ("$filter", f"lastUpdateDateTime ge {LOW_TEXT} and lastUpdateDateTime le {HIGH_TEXT}"),
                ("$top", "7"),
                ("$orderby", "lastUpdateDateTime asc"),
                ("$expand", "alerts"),
            ],
        ),
        (
            "graph_incidents",
            False,
            [
                ("$filter", f"lastUpdateDateTime ge {LOW_TEXT} and lastUpdateDateTime le {HIGH_TEXT}"),
                ("$top", "7"),
                ("$orderby", "lastUpdateDateTime asc"),
            ],
        ),
        (
            "mde_alerts",
            True,
            [
                ("$filter", f"lastUpdateTime ge {LOW_TEXT} and lastUpdateTime le {HIGH_TEXT}"),
                ("$top", "7"),
                ("$expand", "evidence"),
            ],
        ),
        (
            "mde_alerts",
            False,
            [("$filter", f"lastUpdateTime ge {LOW_TEXT} and lastUpdateTime le {HIGH_TEXT}"), ("$top", "7")],
        ),
        (
            # A millisecond wider on both sides, as nobody says whether the bounds are included; no zone letter.
            "alert_exporter",
            True,
            [
                ("sinceTimeUtc", "2026-11-24T08:00:00.122"),
                ("untilTimeUtc", "2026-11-24T09:00:00.001"),
                ("limit", "7"),
            ],
        ),
    ],
)
def test_query_for_a_span(api: str, expand: bool, wanted: list[tuple[str, str]]) -> None:
    assert source_of(api, expand).params(CLOSED, 7) == wanted


@pytest.mark.parametrize("api", ODATA)
def test_an_open_span_has_no_upper_bound(api: str) -> None:
    assert source_of(api).params(OPEN, 7)[0] == ("$filter", f"{TIMES[api]} ge {LOW_TEXT}")


def test_an_open_span_of_the_exporter_has_no_upper_bound() -> None:
    assert source_of("alert_exporter").params(OPEN, 7) == [("sinceTimeUtc", "2026-11-24T08:00:00.122"), ("limit", "7")]


@pytest.mark.parametrize("api", ODATA)
def test_skip_stands_behind_top_and_only_where_it_is_needed(api: str) -> None:
    source = source_of(api)
    assert ("$skip", "0") not in source.params(CLOSED, 7)
    assert source.params(CLOSED, 7, 500)[1:3] == [("$top", "7"), ("$skip", "500")]


@pytest.mark.parametrize("api", ODATA)
def test_more_conditions_are_joined_by_and(api: str) -> None:
    query = dict(source_of(api).params(OPEN, 7, 0, ["a ge 1", "b le 2"]))
    assert query["$filter"] == f"{TIMES[api]} ge {LOW_TEXT} and a ge 1 and b le 2"


def test_several_values_are_joined_by_or_inside_brackets() -> None:
    source = source_of("graph_alerts", wanted={"severity": ["high", "medium"], "status": ["new"]})
    assert dict(source.params(OPEN, 7))["$filter"] == (
        f"lastUpdateDateTime ge {LOW_TEXT} and (severity eq 'high' or severity eq 'medium') and status eq 'new'"
    )


def test_mde_spells_values_in_its_own_way() -> None:
    source = source_of("mde_alerts", wanted={"severity": ["unknown", "unspecified", "high"], "status": ["inProgress"]})
    assert dict(source.params(OPEN, 7))["$filter"] == (
        f"lastUpdateTime ge {LOW_TEXT} and (severity eq 'High' or severity eq 'UnSpecified') and status eq 'InProgress'"
    )


def test_a_quotation_mark_in_a_category_is_doubled() -> None:
    source = source_of("mde_alerts", wanted={"category": ["it's' or 1 eq 1"]})
    assert dict(source.params(OPEN, 7))["$filter"].endswith(" and category eq 'it''s'' or 1 eq 1'")
    assert odata_string("'") == "''''"


@pytest.mark.parametrize("api", ["graph_alerts", "graph_incidents"])
def test_newest_first_is_asked_of_the_apis_that_can(api: str) -> None:
    query = dict(source_of(api).newest_params(OPEN, 3))
    assert query["$orderby"] == "lastUpdateDateTime desc"
    assert query["$top"] == "3"


def test_newest_of_the_others_is_their_habit() -> None:
    # Neither is documented to take an order.
    assert "$orderby" not in dict(source_of("mde_alerts").newest_params(OPEN, 3))
    assert source_of("alert_exporter").newest_params(OPEN, 3) == source_of("alert_exporter").params(OPEN, 3)


@pytest.mark.parametrize("api", APIS)
def test_the_probe_is_one_event_of_the_last_day(api: str) -> None:
    source = source_of(api)
    query = dict(source.probe_params(HIGH))
    assert query.get("$top", query.get("limit")) == "1"
    day_before = (
        "2026-11-23T08:59:59.999" if api == "alert_exporter" else f"{TIMES[api]} ge 2026-11-23T09:00:00.0000000Z"
    )
    assert day_before in query.values()


def test_only_the_exporter_can_be_asked_without_a_limit() -> None:
    assert [api for api in APIS if source_of(api).everything_params(CLOSED) is not None] == ["alert_exporter"]
    assert "limit" not in dict(source_of("alert_exporter").everything_params(CLOSED) or [])


@pytest.mark.parametrize("api", APIS)
def test_any_tick_of_a_span_lies_inside_the_bounds_that_are_sent(api: str) -> None:
    """Bounds are cut to what the API reads: never so that a tick falls out."""
    for low in (LOW, LOW + 1, HIGH - 1, HIGH, LOW // SECOND * SECOND):
        query = dict(source_of(api).params(Span(low, low), 7))
        if api == "alert_exporter":
            assert parse_time(query["sinceTimeUtc"]) < low < parse_time(query["untilTimeUtc"])
        else:
            _name, _ge, first, _and, _name, _le, last = query["$filter"].split()
            assert parse_time(first) == parse_time(last) == low


# --- parts of a moment ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("api", "field"),
    [
        ("graph_alerts", "createdDateTime"),
        ("graph_incidents", "createdDateTime"),
        ("mde_alerts", "alertCreationTime"),
    ],
)
def test_parts_are_bounded_by_creation(api: str, field: str) -> None:
    source = source_of(api)
    assert source.part_conditions(EVERYTHING) == []
    assert source.part_conditions(Part(LOW, None)) == [f"{field} ge {LOW_TEXT}"]
    assert source.part_conditions(Part(None, HIGH)) == [f"{field} le {HIGH_TEXT}"]
    assert source.part_conditions(Part(LOW, HIGH)) == [f"{field} ge {LOW_TEXT}", f"{field} le {HIGH_TEXT}"]
    raw = json.dumps({field: LOW_TEXT}).encode()
    assert source.part_time(Event(0, "", "", raw)) == LOW
    assert source.part_time(Event(0, "", "", b"{}")) is None


def test_the_exporter_knows_no_parts() -> None:
    source = source_of("alert_exporter")
    assert source.part_conditions(Part(LOW, HIGH)) == []
    assert source.part_time(Event(0, "", "", b'{"AlertTime":"2026-11-24T08:00:00Z"}')) is None


def test_what_a_part_holds() -> None:
    assert [Part(2, 4).holds(ticks) for ticks in (1, 2, 4, 5)] == [False, True, True, False]
    assert Part(None, 4).holds(-9)
    assert EVERYTHING.holds(0)


# --- identity ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("api", ODATA)
def test_id_and_update_time(api: str) -> None:
    source = source_of(api)
    assert source.identify({"id": "da1", TIMES[api]: LOW_TEXT}) == ("da1", LOW_TEXT)
    assert source.identify({"id": "123"}) == ("123", "")
    assert source.identify({"id": None, TIMES[api]: None}) == ("", "")
    # OData names have one spelling.
    assert source.identify({"ID": "x"}) == ("", "")


@pytest.mark.parametrize(
    ("fields", "event_id"),
    [
        ({"FullId": "a:b", "AlertId": "c"}, "a:b"),
        ({"fullId": "a:b"}, "a:b"),
        ({"AlertId": "a", "IocUniqueId": "b", "AlertPart": "2"}, "a:b:2"),
        ({"alertid": "a", "ALERTPART": "2"}, "a:2"),
        ({"AlertId": "a", "IocUniqueId": None, "AlertPart": ""}, "a"),
        ({}, ""),
    ],
)
def test_identity_of_the_exporters_rows(fields: dict[str, Any], event_id: str) -> None:
    fields = {**fields, "lastProcessedTimeUTC": LOW_TEXT}
    assert source_of("alert_exporter").identify(fields) == (event_id, LOW_TEXT)


@pytest.mark.parametrize("api", APIS)
def test_microsofts_text_of_the_time_is_kept(api: str) -> None:
    text = "2026-11-24T09:00:00.1+01:00"
    row = {"id": "x", "FullId": "x", TIMES[api]: text}
    event = source_of(api).event(b"raw", row)
    assert (event.version, event.ticks) == (text, parse_time("2026-11-24T08:00:00.1Z"))


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("time", [None, "", "yesterday", "2026-13-01T00:00:00Z", "2026-11-24", {"a": 1}, "1E400"])
def test_a_time_that_nobody_can_read_is_none(api: str, time: Any) -> None:
    event = source_of(api).event(b"raw", {"id": "x", "FullId": "x", TIMES[api]: time})
    assert event.ticks == -1
    assert event.version.startswith(CONTENT)
    assert event.id == "x"


# --- filters -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("api", "option"), [("graph_incidents", "category"), ("alert_exporter", "status"), ("mde_alerts", "colour")]
)
def test_a_filter_that_the_api_has_not(api: str, option: str) -> None:
    with pytest.raises(OptionError) as caught:
        source_of(api, wanted={option: ["x"]})
    assert option in caught.value.message
    assert api in caught.value.message
    assert caught.value.remedy


@pytest.mark.parametrize("api", APIS)
def test_a_value_that_the_api_has_not(api: str) -> None:
    with pytest.raises(OptionError) as caught:
        source_of(api, wanted={"severity": ["high", "critical", "severe"]})
    assert "'critical', 'severe'" in caught.value.message
    assert "'high'" not in caught.value.message
    assert "medium" in caught.value.remedy


@pytest.mark.parametrize("api", APIS)
def test_the_case_of_values_does_not_count(api: str) -> None:
    assert source_of(api, wanted={"severity": ["HIGH"]}).wanted == source_of(api, wanted={"severity": ["high"]}).wanted


@pytest.mark.parametrize("values", [[], None])
def test_an_empty_filter_is_none(values: Any) -> None:
    assert source_of("graph_alerts", wanted={"severity": values, "category": values}).params(OPEN, 1) == source_of(
        "graph_alerts"
    ).params(OPEN, 1)


def test_what_the_api_cannot_filter_is_filtered_here() -> None:
    source = source_of("graph_alerts", wanted={"category": ["Malware", "execution"]})
    assert "category" not in str(source.params(OPEN, 7))
    wanted = [{"category": "malware"}, {"category": "Execution"}, {"category": "Discovery"}, {"category": None}, {}]
    assert [source.is_wanted(fields) for fields in wanted] == [True, True, False, False, False]


def test_the_exporters_severity_and_category_are_filtered_here() -> None:
    source = source_of("alert_exporter", wanted={"severity": ["unknown", "high"], "category": ["Malware"]})
    assert source.params(OPEN, 7) == source_of("alert_exporter").params(OPEN, 7)
    assert source.is_wanted({"Severity": "High", "Category": "Malware"})
    assert source.is_wanted({"Severity": "UnSpecified", "Category": "malware"})
    assert not source.is_wanted({"Severity": "Low", "Category": "Malware"})
    assert not source.is_wanted({"Severity": "High", "Category": "Discovery"})


def test_non_ascii_categories_are_compared_as_text() -> None:
    source = source_of("graph_alerts", wanted={"category": ["Verdächtig"]})
    # As the page reads bytes: Latin-1.
    assert source.is_wanted({"category": "Verdächtig".encode().decode("latin-1")})


# --- habits --------------------------------------------------------------------------------------------------------


def test_retiring_apis_say_when_and_what_instead() -> None:
    warnings = {api: source_of(api).warning for api in APIS}
    assert warnings["graph_alerts"] == warnings["graph_incidents"] == ""
    assert "2027-02-01" in warnings["mde_alerts"]
    assert "2023-12-31" in warnings["alert_exporter"]
    for api in ("mde_alerts", "alert_exporter"):
        assert f"use the API graph_alerts instead of {api}" in warnings[api]


@pytest.mark.parametrize("source", SOURCES.values(), ids=lambda source: source.name)
def test_a_default_page_is_within_the_limit(source: type[Source]) -> None:
    assert 1 <= source.page_default <= source.page_limit


def test_filters_are_named_by_what_they_mean() -> None:
    """Order and case do not count: it is the same set of filters, with the same cursor."""
    one = source_of("mde_alerts", True, {"severity": ["high", "Low"], "status": ["new"]})
    other = source_of("mde_alerts", True, {"status": ["New"], "severity": ["low", "HIGH"], "category": []})
    assert one.filter_key == other.filter_key != ""
    assert one.filter_key != source_of("mde_alerts", True, {"severity": ["high"], "status": ["new"]}).filter_key
    assert source_of("mde_alerts").filter_key == ""
