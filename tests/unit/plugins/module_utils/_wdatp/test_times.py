# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
from datetime import datetime, timedelta, timezone

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp.errors import OptionError
from ansible_collections.secops.defender.plugins.module_utils._wdatp.times import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    format_time,
    now_ticks,
    parse_duration,
    parse_http_date,
    parse_moment,
    parse_time,
)
from hypothesis import given
from hypothesis import strategies as st

NOW = parse_time("2026-11-24T08:00:00Z")


@pytest.mark.parametrize(
    ("text", "ticks"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.0000001Z", 1),
        ("1970-01-01T00:00:00.1Z", 1_000_000),
        ("1970-01-01T00:00:00.12345678999Z", 1_234_567),
        ("1970-01-01t00:00:01z", SECOND),
        ("1970-01-01 00:00:01", SECOND),
        ("1970-01-01T01:30:00+01:30", 0),
        ("1970-01-01T00:00:00-01:00", HOUR),
        ("1969-12-31T23:59:59.9999999Z", -1),
        ("2024-02-29T00:00:00Z", 19_782 * DAY),
        ("2016-12-31T23:59:60Z", 17_167 * DAY),
    ],
)
def test_parse_time(text: str, ticks: int) -> None:
    assert parse_time(text) == ticks


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-24",
        "2026-11-24T24:00:00Z",
        "2026-11-24T08:60:00Z",
        "2026-02-30T00:00:00Z",
        "2023-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-11-24T08:00:00Z\n",
        "2026-11-24T08:00:00.Z",
        "٢٠٢٦-11-24T08:00:00Z",
        "2026-11-24T08:00:00+25:00",
    ],
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"not|does not match|unconverted|day is out"):
        parse_time(text)


@given(st.integers(min_value=0, max_value=4_102_444_800 * SECOND))
def test_written_and_read(ticks: int) -> None:
    assert parse_time(format_time(ticks)) == ticks


@given(
    st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2100, 1, 1)),
    st.integers(min_value=-14 * 60, max_value=14 * 60),
)
def test_like_the_standard_library(naive: datetime, offset: int) -> None:
    moment = naive.replace(tzinfo=timezone(timedelta(minutes=offset)))
    microseconds = (moment - datetime(1970, 1, 1, tzinfo=timezone.utc)) // timedelta(microseconds=1)
    assert parse_time(moment.isoformat()) == microseconds * 10


@given(st.text(max_size=40))
def test_any_text_is_a_time_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        parse_time(text)


def test_format_time() -> None:
    assert format_time(1) == "1970-01-01T00:00:00.0000001Z"
    assert format_time(-1) == "1969-12-31T23:59:59.9999999Z"


@pytest.mark.parametrize(
    ("text", "ticks"),
    [
        ("90s", 90 * SECOND),
        ("15m", 15 * MINUTE),
        ("4h", 4 * HOUR),
        ("30d", 30 * DAY),
        ("2W", 14 * DAY),
        ("1h30m", 90 * MINUTE),
        (" 1h 30m ", 90 * MINUTE),
        ("0s", 0),
    ],
)
def test_parse_duration(text: str, ticks: int) -> None:
    assert parse_duration(text, "overlap") == ticks


@pytest.mark.parametrize("text", ["", "15", "m", "-15m", "1.5h", "15 minutes", "1y", "1h,30m", "15m x"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(OptionError, match="overlap: ") as caught:
        parse_duration(text, "overlap")
    assert repr(text) in caught.value.message


def test_parse_moment() -> None:
    assert parse_moment("15m", NOW, "since") == NOW - 15 * MINUTE
    assert parse_moment(" 2026-11-24T07:00:00Z ", NOW, "since") == NOW - HOUR
    with pytest.raises(OptionError, match="since: 'yesterday' is neither a time nor a duration"):
        parse_moment("yesterday", NOW, "since")


def test_parse_http_date() -> None:
    assert parse_http_date("Tue, 24 Nov 2026 08:00:00 GMT") == NOW
    assert parse_http_date("yesterday") is None
    assert parse_http_date("") is None


def test_now() -> None:
    assert parse_time("2026-01-01T00:00:00Z") < now_ticks() < parse_time("2200-01-01T00:00:00Z")
