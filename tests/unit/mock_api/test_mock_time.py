# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The clock and the timeline, against plain lists that do the same slowly."""

from __future__ import annotations

import tracemalloc
from datetime import datetime, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mock_api.clock import SECOND, parse_iso_duration, parse_span, parse_time, time_text
from mock_api.dataset import DataOptions, Dataset, make_axis
from mock_api.timeline import Timeline, first_where

NOW = parse_time("2026-11-24T12:00:00.1234567Z")


@settings(deadline=None)
@given(st.integers(min_value=0, max_value=4 * 10**16))
def test_a_time_survives_being_written_and_read(ticks: int) -> None:
    text = time_text(ticks)
    assert parse_time(text) == ticks
    assert text.endswith("Z")
    assert "." not in text or not text.endswith(("0Z", ".Z"))


def test_times_are_those_of_the_calendar() -> None:
    assert time_text(NOW) == "2026-11-24T12:00:00.1234567Z"
    moment = datetime(2024, 2, 29, 23, 59, 59, tzinfo=timezone.utc)
    assert parse_time("2024-02-29T23:59:59Z") == int(moment.timestamp()) * SECOND
    assert parse_time("2024-02-29T23:59:59.5+02:30") == parse_time("2024-02-29T21:29:59.5Z")


@pytest.mark.parametrize(
    "text",
    [
        "2024-02-30T00:00:00Z",
        "2024-02-29T24:00:00Z",
        "2024-02-29T00:00:00",
        "2024-02-29",
        "2024-02-29T00:00:00.12345678Z",
        "2024-02-29T00:00:00 02:00",
        "",
    ],
)
def test_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse_time(text)


def test_spans_and_durations() -> None:
    assert [parse_span(text) for text in ("90", "15m", "1.5h", "2d", "1w")] == [90, 900, 5400, 172_800, 604_800]
    assert parse_iso_duration("PT10M") == 600 * SECOND
    assert parse_iso_duration("P1DT2H3.5S") == (86400 + 7200) * SECOND + 35_000_000
    for text in ("P", "PT", "10m", "PT10"):
        with pytest.raises(ValueError, match=text):
            parse_iso_duration(text)
    with pytest.raises(ValueError, match="write for example"):
        parse_span("soon")


@settings(deadline=None)
@given(st.integers(0, 50), st.integers(0, 50))
def test_first_where(count: int, border: int) -> None:
    assert first_where(count, lambda number: number >= border) == min(count, border)


OPTIONS = st.builds(
    lambda **given: DataOptions("t", "d.example", **given),
    alerts=st.integers(1, 400),
    seed=st.integers(0, 99),
    ties=st.one_of(st.none(), st.integers(1, 40)),
    big_tie=st.sampled_from([0, 1, 50, 1000]),
    big_tie_at=st.sampled_from([0, 0.3, 1.0, 17]),
    span=st.sampled_from(["1s", "20m", "24h", "30d"]),
    recent_share=st.sampled_from([None, 0.0, 0.4, 1.0]),
)


@settings(deadline=None, max_examples=60)
@given(OPTIONS)
def test_times_never_fall_and_tie_as_asked(options: DataOptions) -> None:
    axis = make_axis(options, NOW)
    ticks = [axis.ticks(number) for number in range(options.alerts)]
    assert ticks == sorted(ticks)
    assert axis.start <= ticks[0] and ticks[-1] < axis.end
    assert len(set(ticks)) == axis.groups
    ties = [ticks.count(moment) for moment in set(ticks)]
    if options.big_tie:
        assert max(ties) >= min(options.big_tie, options.alerts)
    elif options.ties:
        assert sorted(ties)[1:] == [options.ties] * (len(ties) - 1)


class Slow:
    """What a Timeline does, with a dict."""

    def __init__(self, ticks: list[int]) -> None:
        self.all = dict(enumerate(ticks))

    def entries(self) -> list[tuple[int, int]]:
        return sorted((ticks, number) for number, ticks in self.all.items())


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 60), max_size=40).map(sorted),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 70)), max_size=40),
    st.integers(0, 90),
    st.integers(0, 90),
)
def test_timeline_like_a_sorted_list(base: list[int], puts: list[tuple[int, int]], low: int, high: int) -> None:
    timeline, slow = Timeline(len(base), base.__getitem__), Slow(base)
    for number, ticks in puts:
        timeline.put(number, ticks)
        slow.all[number] = ticks
    entries = slow.entries()
    assert len(timeline) == len(entries)
    assert timeline.entries(0, len(entries)) == entries
    assert timeline.entries(low, high) == entries[low:high]
    assert [timeline.rank(entry) for entry in entries] == list(range(len(entries)))
    first, last = timeline.between(low, high)
    assert timeline.entries(first, last) == [entry for entry in entries if low <= entry[0] <= high]
    assert all(timeline.ticks(number) == ticks for ticks, number in entries)


def test_a_million_alerts_are_not_held_in_memory() -> None:
    tracemalloc.start()
    try:
        dataset = Dataset(DataOptions("t", "d.example", alerts=1_000_000), NOW)
        deep = dataset.alerts.entries(700_000, 701_000)
        place = dataset.alerts.rank(deep[500])
        dataset.update([number for _ticks, number in deep[:100]], [NOW] * 100)
        newest = dataset.newest(100)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (len(deep), place, len(newest)) == (1000, 700_500, 100)
    assert {number for _ticks, number in newest} == {number for _ticks, number in deep[:100]}
    assert peak < 4_000_000
