# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which alert has which update time, and the reverse, without a list of a million entries.

The first `count` alerts have times that are computed from their number. Alerts that were added or changed while the
mock runs lie in a small sorted overlay. A position in the whole order is found by binary search in both.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from .clock import SECOND

_MASK = (1 << 64) - 1
# How many digits of fraction a time gets: mostly seven, but every length occurs, none included.
_DIGITS = (7, 7, 7, 7, 3, 2, 1, 0, 6, 7, 4, 5, 7, 3, 7, 0)
# Without `ties` in the configuration, ten alerts in a row have seven different times.
_NATURAL = (0, 1, 2, 2, 3, 4, 5, 5, 5, 6)

Key = tuple[int, int]


def first_where(count: int, holds: Callable[[int], bool]) -> int:
    """The first number below `count` from which on `holds` is true; `count` if there is none."""
    # bisect's own `key` came with Python 3.10; the mock also runs where the collection runs, on 3.9.
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low


def mix(value: int) -> int:
    """splitmix64: 64 well-mixed bits from a number, the same on every machine and Python."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


@dataclass(frozen=True)
class Axis:
    """Update times of the first alerts: number -> ticks, never falling."""

    count: int
    start: int
    end: int
    seed: int = 1
    ties: int | None = None
    big_tie: int = 0
    big_tie_at: int = 0
    # This share of the times lies after `recent_from`.
    recent_share: float = 0.0
    recent_from: int = 0

    def _small_group(self, number: int) -> int:
        if self.ties is None:
            return number // 10 * 7 + _NATURAL[number % 10]
        return number // self.ties

    def group(self, number: int) -> int:
        if not self.big_tie or number < self.big_tie_at:
            return self._small_group(number)
        before = self._small_group(self.big_tie_at - 1) + 1 if self.big_tie_at else 0
        if number < self.big_tie_at + self.big_tie:
            return before
        return before + 1 + self._small_group(number - self.big_tie_at - self.big_tie)

    @cached_property
    def groups(self) -> int:
        """How many different times there are."""
        return self.group(self.count - 1) + 1 if self.count else 0

    def ticks(self, number: int) -> int:
        group = self.group(number)
        low, high = self._cell(group)
        bits = mix(self.seed * 1_000_003 + group)
        close = self._close(group, low, high, bits)
        if close is not None:
            return close
        grain: int = 10 ** (7 - _DIGITS[bits & 15])
        while grain > high - low:
            grain //= 10
        first, last = -(-low // grain), (high - 1) // grain
        return (first + (bits >> 8) % (last - first + 1)) * grain

    def _close(self, group: int, low: int, high: int, bits: int) -> int | None:
        """Some neighbours share a second, the first of them without a fraction: as texts they sort the wrong way."""
        if mix(self.seed * 1_000_003 - group // 2) & 7 or group | 1 >= self.groups:
            return None
        border = low if group & 1 else high
        second = border // SECOND * SECOND
        if group & 1:
            return border + bits % (min(high, second + SECOND) - border)
        return second if low <= second < border else None

    def _cell(self, group: int) -> tuple[int, int]:
        """The span of time that belongs to one group alone, so that times never cross."""
        groups = self.groups
        old = groups - int(groups * self.recent_share)
        if group < old:
            start, width, index, parts = self.start, (self.recent_from or self.end) - self.start, group, old
        else:
            start, width, index, parts = self.recent_from, self.end - self.recent_from, group - old, groups - old
        return start + index * width // parts, start + (index + 1) * width // parts


class Timeline:
    """All entries in the order (ticks, number), with those that were added or moved."""

    def __init__(self, count: int, base_ticks: Callable[[int], int]) -> None:
        self.count = count
        self._base_ticks = base_ticks
        self._overlay: list[Key] = []
        self._moved: dict[int, int] = {}
        self._gone: list[int] = []

    def __len__(self) -> int:
        return self.count - len(self._gone) + len(self._overlay)

    def ticks(self, number: int) -> int:
        moved = self._moved.get(number)
        return self._base_ticks(number) if moved is None else moved

    def put(self, number: int, ticks: int) -> None:
        """Add an entry, or move one to another time."""
        old = self._moved.get(number)
        if old is not None:
            del self._overlay[bisect_left(self._overlay, (old, number))]
        elif number < self.count:
            insort(self._gone, number)
        self._moved[number] = ticks
        insort(self._overlay, (ticks, number))

    def _base_rank(self, key: Key) -> int:
        """How many unmoved entries come before this key."""
        ticks = self._base_ticks
        index = first_where(self.count, lambda number: (ticks(number), number) >= key)
        return index - bisect_left(self._gone, index)

    def rank(self, key: Key) -> int:
        """How many entries come before this key."""
        return self._base_rank(key) + bisect_left(self._overlay, key)

    def between(self, low: int | None, high: int | None) -> tuple[int, int]:
        """Positions of the entries with low <= ticks <= high."""
        first = 0 if low is None else self.rank((low, -1))
        last = len(self) if high is None else self.rank((high + 1, -1))
        return first, max(first, last)

    def entries(self, first: int, last: int) -> list[Key]:
        """The entries at the positions first .. last - 1, oldest first."""
        first, last = max(first, 0), min(last, len(self))
        if first >= last:
            return []
        overlay = self._overlay
        overlay_at = first_where(len(overlay), lambda index: index + self._base_rank(overlay[index]) >= first)
        number = self._live(first - overlay_at)
        return self._merge(number, overlay_at, last - first)

    def _live(self, rank: int) -> int:
        """The number of the unmoved entry with this rank among the unmoved ones."""
        gone = self._gone
        # Before gone[index] lie gone[index] - index unmoved ones.
        return rank + first_where(len(gone), lambda index: gone[index] - index > rank)

    def _merge(self, number: int, overlay_at: int, amount: int) -> list[Key]:
        found: list[Key] = []
        gone = set(self._gone)
        overlay, ticks = self._overlay, self._base_ticks
        base: Key | None = None
        while len(found) < amount:
            while base is None and number < self.count:
                if number not in gone:
                    base = (ticks(number), number)
                number += 1
            if overlay_at < len(overlay) and (base is None or overlay[overlay_at] < base):
                found.append(overlay[overlay_at])
                overlay_at += 1
            elif base is not None:
                found.append(base)
                base = None
            else:
                break
        return found
