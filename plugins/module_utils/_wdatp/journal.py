# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a report shows of the events that this host received: a few short texts of each, for some days.

No second copy of the alerts. All events of a batch are one row, so that noting them costs a pull next to nothing; so
whoever reads looks for rows by the times that they span, and for events in them.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .page import SHORT, Columns, Event
from .store import Store
from .times import DAY, now_ticks

# Events that were updated in so many days before today are kept.
KEPT_DAYS = 7
# Rows that are read at a time.
_CHUNK = 50


# The largest number of SQLite.
_FOREVER = (1 << 63) - 1


class Shown(NamedTuple):
    """An event as a report shows it. `time`: its update time; `received`: when this host has written it, if it has
    (ticks).

    It sorts newest first, and the same event stands beside itself.
    """

    age: int
    tenant_id: str
    api: str
    id: str
    received: int | None
    organization: str | None
    columns: Columns

    @property
    def time(self) -> int:
        return -self.age

    def __lt__(self, other: tuple[object, ...]) -> bool:
        # What follows may be missing, and what is missing has no place in an order.
        return self[:4] < other[:4]

    def is_same_event(self, other: Shown) -> bool:
        return self[:4] == other[:4]


class Journal:
    """The table `shown` of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, stream: int, organization: str | None, events: Sequence[Event], day: int) -> None:
        """Events that are being written on `day` (since 1970). Inside a transaction. StoreError."""
        received, oldest = now_ticks(), _oldest(day)
        kept = [
            # One without an update time was met now.
            (event.ticks if event.ticks >= 0 else received, event.id[:SHORT], event.columns)
            for event in events
            if not 0 <= event.ticks < oldest
        ]
        if kept:
            times = [item[0] for item in kept]
            self._store.change(
                "INSERT INTO shown (stream, organization, received, first, last, events) VALUES (?,?,?,?,?,?)",
                # In ASCII: what is no UTF-8, as half of a surrogate pair, is text nevertheless.
                [(stream, organization, received, min(times), max(times), json.dumps(kept, separators=(",", ":")))],
            )

    def prune(self, day: int) -> None:
        """Forgets what is too old on `day` (since 1970). Inside a transaction. StoreError."""
        self._store.change("DELETE FROM shown WHERE last<?", [(_oldest(day),)])

    def events(self, low: int, high: int | None) -> Iterator[Shown]:
        """The events that were updated in a stretch of time (ticks, both ends included), newest first. StoreError.

        Only as many are in memory as rows overlap, however long the stretch is.
        """
        waiting: list[Shown] = []
        for last, events in self._rows(low, high):
            # What is as new as anything in this row or in those that follow is its turn.
            while waiting and waiting[0].time > last:
                yield heapq.heappop(waiting)
            for event in events:
                if low <= event.time and (high is None or event.time <= high):
                    heapq.heappush(waiting, event)
        while waiting:
            yield heapq.heappop(waiting)

    def _rows(self, low: int, high: int | None) -> Iterator[tuple[int, Iterator[Shown]]]:
        """(newest update time, events) of each row, the newest first."""
        query = (
            "SELECT last, number, organization, received, events, tenant, api FROM shown"
            " JOIN stream ON stream.id=shown.stream WHERE last>=? AND first<=? AND (last, number)<(?,?)"
            " ORDER BY last DESC, number DESC LIMIT ?"
        )
        high = _FOREVER if high is None else high
        place: tuple[int, int] = (_FOREVER, _FOREVER)
        while True:
            # Some at a time: a pull that is running isn't held up, and a long time fits into memory.
            rows = self._store.rows(query, low, high, *place, _CHUNK)
            for last, _number, organization, received, text, tenant, api in rows:
                yield last, _shown(text, tenant, api, received, organization)
            if len(rows) < _CHUNK:
                return
            place = rows[-1][:2]


def _shown(text: str, tenant: str, api: str, received: int, organization: str | None) -> Iterator[Shown]:
    for ticks, event_id, columns in json.loads(text):
        yield Shown(-ticks, tenant, api, event_id, received, organization, Columns.unpacked(columns))


def _oldest(day: int) -> int:
    return (day - KEPT_DAYS) * DAY
