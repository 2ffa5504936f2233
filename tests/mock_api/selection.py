# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a checked query to the entries of one page. Time ranges cost the page; other conditions are looked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .odata import Condition
from .timeline import Key, Timeline

_CHUNK = 512


@dataclass(frozen=True)
class Selection:
    condition: Condition
    newest_first: bool = True
    top: int = 1000
    skip: int = 0
    # Go on behind this entry.
    after: Key | None = None
    want_count: bool = False
    # Another order than that of the index: entry -> what to sort by.
    sort_by: Callable[[Key], tuple[int, int]] | None = None


@dataclass(frozen=True)
class Found:
    entries: list[Key]
    more: bool
    count: int | None


def select(timeline: Timeline, wanted: Selection) -> Found:
    if wanted.sort_by is not None:
        return _sorted(timeline, wanted, wanted.sort_by)
    first, last = timeline.between(wanted.condition.low, wanted.condition.high)
    count = _count(timeline, wanted, first, last) if wanted.want_count else None
    if wanted.after is not None:
        place = timeline.rank(wanted.after)
        if wanted.newest_first:
            last = min(last, place)
        else:
            # The entry itself may have moved away in the meantime.
            here = timeline.entries(place, place + 1) == [wanted.after]
            first = max(first, place + here)
    if wanted.condition.test is None:
        return _plain(timeline, wanted, first, max(first, last), count)
    return _searched(timeline, wanted, first, max(first, last), count)


def _plain(timeline: Timeline, wanted: Selection, first: int, last: int, count: int | None) -> Found:
    if wanted.newest_first:
        stop = max(first, last - wanted.skip)
        start = max(first, stop - wanted.top)
        return Found(timeline.entries(start, stop)[::-1], start > first, count)
    start = min(last, first + wanted.skip)
    stop = min(last, start + wanted.top)
    return Found(timeline.entries(start, stop), stop < last, count)


def _walk(timeline: Timeline, newest_first: bool, first: int, last: int) -> Iterator[Key]:
    while first < last:
        if newest_first:
            start = max(first, last - _CHUNK)
            yield from reversed(timeline.entries(start, last))
            last = start
        else:
            yield from timeline.entries(first, min(last, first + _CHUNK))
            first += _CHUNK


def _matching(timeline: Timeline, wanted: Selection, first: int, last: int) -> Iterator[Key]:
    test = wanted.condition.test
    for entry in _walk(timeline, wanted.newest_first, first, last):
        if test is None or test(entry[1], entry[0]):
            yield entry


def _searched(timeline: Timeline, wanted: Selection, first: int, last: int, count: int | None) -> Found:
    entries: list[Key] = []
    skip = wanted.skip
    for entry in _matching(timeline, wanted, first, last):
        if skip:
            skip -= 1
        elif len(entries) == wanted.top:
            return Found(entries, True, count)
        else:
            entries.append(entry)
    return Found(entries, False, count)


def _count(timeline: Timeline, wanted: Selection, first: int, last: int) -> int:
    if wanted.condition.test is None:
        return last - first
    return sum(1 for _entry in _matching(timeline, wanted, first, last))


def _sorted(timeline: Timeline, wanted: Selection, sort_by: Callable[[Key], tuple[int, int]]) -> Found:
    first, last = timeline.between(wanted.condition.low, wanted.condition.high)
    entries = sorted(_matching(timeline, wanted, first, last), key=sort_by, reverse=wanted.newest_first)
    count = len(entries)
    if wanted.after is not None:
        mark = sort_by(wanted.after)
        entries = [
            entry for entry in entries if (sort_by(entry) < mark) == wanted.newest_first and sort_by(entry) != mark
        ]
    page = entries[wanted.skip : wanted.skip + wanted.top]
    return Found(page, len(entries) > wanted.skip + wanted.top, count if wanted.want_count else None)
