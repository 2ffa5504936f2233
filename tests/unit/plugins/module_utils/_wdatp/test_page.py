# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From bodies to events: each the very bytes that were sent, and one kind of error for all that is no page."""

from __future__ import annotations

import json
import random
import sys
from typing import Any

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp.errors import TransportError
from ansible_collections.secops.defender.plugins.module_utils._wdatp.page import (
    CONTENT,
    Event,
    Fields,
    Page,
    parse_page,
    text_of,
    value_of,
)
from ansible_collections.secops.defender.plugins.module_utils._wdatp.sources.registry import source_of
from ansible_collections.secops.defender.plugins.module_utils._wdatp.transport import first_line
from hypothesis import given
from hypothesis import strategies as st
from mock_api.dataset import DataOptions, Dataset
from mock_api.jsontext import LAYOUTS
from mock_api.messages import Page as MockPage

NO_PAGE = ("network.not_json", "network.no_list")
ROW = b'{"id":"a","lastUpdateDateTime":"2026-11-24T08:00:00Z"}'


def plain(raw: bytes, fields: Fields) -> Event:
    return Event(0, text_of(fields.get("id")), "", raw)


def parse(body: bytes) -> Page:
    return parse_page(body, "host/path", first_line, plain)


def slices(body: bytes) -> list[bytes]:
    return [event.raw for event in parse(body).events]


def refusal(body: bytes) -> TransportError:
    with pytest.raises(TransportError) as caught:
        parse(body)
    return caught.value


# --- what is kept --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row",
    [
        rb'{"id":"\u0041\/\"\\","t":"\ud83d\udc1b"}',
        b'{"id":"x","n":1E400,"m":-0.0,"o":0.1000,"p":5e-324}',
        b'{"id":12345678901234567890,"big":' + b"9" * 5000 + b"}",
        b'{"id":"a","k":1,"k":2,"K":3}',
        rb'{"id":"\ud800","low":"\udfff"}',
        b'{"id":"caf\xe9 \xff\xfe","x":"\xc3\xa9"}',
        b'{"id":"\xe5\xb1\xb1\xe7\x94\xb0","x":"\xf0\x9f\x83\x8f"}',
        b'{"id":"NaN","x":[NaN,Infinity,-Infinity]}',
        b'{ "id" :\t"a" ,\r\n "x" : [ ] }',
        b'{"id":"control \x01 \t inside"}',
        b"{}",
        b'{"value":[{"id":"inner"}],"@odata.nextLink":"https://inner"}',
    ],
    ids=lambda row: row[:24].decode("latin-1"),
)
@pytest.mark.parametrize(
    "form", [b'{"value":[%b]}', b"[%b]", b'\xef\xbb\xbf{"@odata.context":"c", "value" : [ %b ] }\n']
)
def test_a_row_is_the_slice_that_was_sent(row: bytes, form: bytes) -> None:
    assert slices(form % row) == [row]
    assert slices(form % b", ".join([row, ROW, row])) == [row, ROW, row]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("link_last", [True, False])
@pytest.mark.parametrize("bare", [True, False])
@pytest.mark.parametrize("amount", [0, 1, 40])
def test_layouts_of_the_mock(layout: str, link_last: bool, bare: bool, amount: int) -> None:
    data = Dataset(DataOptions("t", "contoso.example", alerts=40, layout=layout), 17_900_000_000_000_000)
    api = "alert_exporter" if bare else "graph_alerts"
    rows = [row for _id, _time, row in data.truth(api, True, True)][:amount]
    link = None if bare else "https://host/path?$skiptoken=x"
    count = None if bare else 1234
    body = MockPage(rows, "context", count, link, bare, link_last, layout).render()
    page = parse(body)
    assert [event.raw for event in page.events] == rows
    assert (page.rows, page.next_link, page.total) == (amount, link, count)


def test_a_lone_object_of_the_alert_exporter() -> None:
    row = b'{ "AlertId" : "7", "id": 3 }'
    assert slices(b"\xef\xbb\xbf " + row + b"\r\n") == [row]


def test_a_list_that_comes_twice_loses_no_row() -> None:
    assert slices(b'{"value":[{"id":"a"}],"value":[{"id":"b"}]}') == [b'{"id":"a"}', b'{"id":"b"}']


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        (b'"plain"', "plain"),
        (b"7", "7"),
        (b"12345678901234567890", "12345678901234567890"),
        (b"1E400", "1E400"),
        (b"null", ""),
        (b'"J\xc3\xbcrgen"', "Jürgen"),
        (rb'"J\u00fcrgen"', "Jürgen"),
        (b'"\xe5\xb1\xb1"', "山"),
        (b'"\xff"', "\xff"),
        (rb'"\ud800"', "\ud800"),
    ],
)
def test_text_of_a_field(sent: bytes, meant: str) -> None:
    (event,) = parse(b'[{"id":%b}]' % sent).events
    assert event.id == meant


@pytest.mark.parametrize("value", [b"null", b'""', b"[]", b"{}", b"true"])
def test_a_link_that_is_no_text_is_none(value: bytes) -> None:
    assert parse(b'{"value":[],"@odata.nextLink":%b}' % value).next_link is None


@pytest.mark.parametrize("value", [b"null", b'"many"', b"[]", b"{}", b"1E400", b"true"])
def test_a_count_that_is_no_number_is_none(value: bytes) -> None:
    assert parse(b'{"value":[],"@odata.count":%b}' % value).total is None


def test_a_row_that_is_left_out_is_counted() -> None:
    page = parse_page(b'[{"id":"a"},{"id":"b"}]', "", first_line, lambda raw, fields: None)
    assert (page.events, page.rows) == ([], 2)


def test_content_stands_in_for_id_and_time() -> None:
    source = source_of("graph_alerts")
    page = parse_page(b'[{"x":1},{"x":2},{"x":1}]', "", first_line, source.event)
    first, second, again = page.events
    assert first.id == first.version != second.id
    assert first.id.startswith(CONTENT)
    assert first == again
    assert first.ticks == -1


def test_an_events_value_can_always_be_shown() -> None:
    """What the scanner lets through, the reader for people must too."""
    raw = b'{"id":"\xff","control":"\x01","big":' + b"9" * 5000 + b',"n":12345678901234567890,"inf":1E400,"nan":NaN}'
    value = value_of(raw)
    assert value["id"] == "\ufffd"
    assert value["control"] == "\x01"
    assert str(value["n"]) == "12345678901234567890"
    assert str(value["big"]) == "9" * 5000
    # As text: neither is JSON that others read, and a play's templates take them for names.
    assert (value["inf"], value["nan"]) == ("1E400", "NaN")


# --- what is refused -----------------------------------------------------------------------------------------------


def test_a_page_cut_off_anywhere_is_no_json() -> None:
    body = b'{"@odata.context":"c","@odata.nextLink":"l","value":[%b,\r\n %b],"x":[1.5,{"y":null}]}' % (ROW, ROW)
    assert len(slices(body)) == 2
    for length in range(len(body)):
        assert refusal(body[:length]).code == "network.not_json", body[:length]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "network.not_json"),
        (b"  \r\n", "network.not_json"),
        (b"\xef\xbb\xbf", "network.not_json"),
        (b"<!DOCTYPE html><html>", "network.not_json"),
        (b"7", "network.no_list"),
        (b"-", "network.not_json"),
        (b"nul", "network.not_json"),
        (b"null", "network.no_list"),
        (b'"text"', "network.no_list"),
        (b"{}", "network.no_list"),
        (b'{"error":{"code":"x"}}', "network.no_list"),
        (b'{"value":null}', "network.no_list"),
        (b'{"value":{"id":1}}', "network.no_list"),
        (b"[1]", "network.not_json"),
        (b"[{},]", "network.not_json"),
        (b"[{}{}]", "network.not_json"),
        (b"[{} {}]", "network.not_json"),
        (b"[,{}]", "network.not_json"),
        (b"[{}];", "network.not_json"),
        (b"[{}][{}]", "network.not_json"),
        (b'{"value":[{}]} x', "network.not_json"),
        (b'{"value":[{}]}{"value":[]}', "network.not_json"),
        (b'{"value":[{}],}', "network.not_json"),
        (b'{"value":[{}]"x":1}', "network.not_json"),
        (b'{"value" [{}]}', "network.not_json"),
        (b"{value:[]}", "network.not_json"),
        (b"\xff\xfe[\x00]\x00", "network.not_json"),
        (b"\x1f\x8b\x08", "network.not_json"),
    ],
)
def test_what_is_no_page_is_one_kind_of_error(body: bytes, code: str) -> None:
    error = refusal(body)
    assert error.code == code
    assert "host/path" in error.message
    assert error.remedy


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":[', b'{"value":[{"a":', b'{"x":['])
def test_endless_nesting_is_no_json(opening: bytes) -> None:
    assert refusal(opening * 200_000).code == "network.not_json"


def test_the_first_line_is_shown_short_and_printable() -> None:
    error = refusal(b"<html>\x1b[31m" + b"x" * 5000 + b"\nsecond")
    assert '"<html>?[31mxxx' in error.message
    assert len(error.message) < 300
    assert "second" not in error.message


# --- whatever comes ------------------------------------------------------------------------------------------------

JSON_MARKS = st.text('[]{}",:\\ \n0123456789eE+-.tfnulaNI\ufeff\xff', max_size=60).map(
    lambda text: text.encode("utf-8")
)


@given(st.binary(max_size=200) | JSON_MARKS | JSON_MARKS.map(lambda body: b'{"value":[%b]}' % body))
def test_arbitrary_bytes_are_a_page_or_an_error_of_ours(body: bytes) -> None:
    try:
        parse(body)
    except TransportError as error:
        assert error.code in NO_PAGE


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=[]), max_size=12)  # lone surrogates too
    | st.sampled_from(["value", "@odata.nextLink", '"', "\\", "\u2028", "{[", "]}"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


def written(value: Any, chance: random.Random, ascii_only: bool) -> str:
    """JSON with blanks wherever they may stand."""

    def blank() -> str:
        return "".join(chance.choice(" \t\r\n") for _number in range(chance.choice((0, 0, 0, 1, 2))))

    def text(part: Any) -> str:
        return json.dumps(part, ensure_ascii=ascii_only)

    if isinstance(value, dict):
        items = [f"{text(key)}{blank()}:{blank()}{written(item, chance, ascii_only)}" for key, item in value.items()]
        return "{" + blank() + f"{blank()},{blank()}".join(items) + blank() + "}"
    if isinstance(value, list):
        items = [written(item, chance, ascii_only) for item in value]
        return "[" + blank() + f"{blank()},{blank()}".join(items) + blank() + "]"
    return text(value)


@given(
    rows=st.lists(st.dictionaries(st.text(max_size=6) | st.just("id"), VALUES, max_size=4), max_size=4),
    others=st.dictionaries(st.text(max_size=6).filter(lambda name: name != "value"), VALUES, max_size=3),
    chance=st.randoms(use_true_random=False),
    is_bare=st.booleans(),
    ascii_only=st.booleans(),
    list_first=st.booleans(),
)
def test_any_list_in_any_layout_gives_back_its_slices(
    rows: list[Any], others: dict[str, Any], chance: random.Random, is_bare: bool, ascii_only: bool, list_first: bool
) -> None:
    texts = [written(row, chance, ascii_only) for row in rows]
    array = "[ " + " ,\n".join(texts) + "\t]"
    if not is_bare:
        members = [f'"value" : {array}'] + [
            f"{json.dumps(name, ensure_ascii=ascii_only)}:{written(item, chance, ascii_only)}"
            for name, item in others.items()
        ]
        array = "{" + ",".join(members if list_first else members[::-1]) + "}"
    expected = [text.encode("utf-8", "surrogatepass") for text in texts]
    assert slices(array.encode("utf-8", "surrogatepass")) == expected


def test_the_recursion_limit_is_left_alone() -> None:
    before = sys.getrecursionlimit()
    refusal(b"[" * 100_000)
    assert sys.getrecursionlimit() == before
