# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which events are new, which are a new version, which are known; and which of them shall be written."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from .page import CONTENT, Event
from .store import Entry, Known, number_of, version_number

# The figures that a verdict counts for.
NEW, UPDATED, DUPLICATES = "new", "updated", "duplicates"


class Verdict(NamedTuple):
    """`entry.written`: this version belongs in the destinations, whether it goes there now or went there before."""

    event: Event
    kind: str
    entry: Entry

    @property
    def is_due(self) -> bool:
        """It goes to the destinations now."""
        return self.entry.written and self.kind != DUPLICATES


# Whether a version of a known event that the ledger lacks is written: (it is newer, its text is another) -> it is.
POLICIES: dict[str, Callable[[bool, bool], bool]] = {
    "all": lambda is_newer, is_other: True,
    "latest": lambda is_newer, is_other: is_newer,
    "new_only": lambda is_newer, is_other: False,
    "changed": lambda is_newer, is_other: is_newer and is_other,
}


class Ledger:
    """Judges events. `look_up`: ids -> what is known of them. `time_field`: where an event says when it was updated."""

    def __init__(self, look_up: Callable[[list[int]], dict[int, Known]], updates: str, time_field: str) -> None:
        self._look_up = look_up
        self._is_written = POLICIES[updates]
        self._keeps_content = updates == "changed"
        # Case does not count: see the alert exporter.
        self._time = re.compile(rf'"{time_field}"\s*:\s*"([^"]*)"'.encode(), re.IGNORECASE)

    def judge(self, events: list[Event]) -> Iterable[Verdict]:
        """One verdict for each event, in order; of an event that comes twice the second is a duplicate."""
        numbers = [number_of(event.id) for event in events]
        known = self._look_up(numbers)
        for number, event in zip(numbers, events):
            version = version_number(event)
            content = self._content_number(event) if self._keeps_content else None
            before = known.get(number)
            if before is None:
                known[number] = Known({version: True}, version, content)
                yield Verdict(event, NEW, Entry(number, version, content, True))
            elif version in before.versions:
                yield Verdict(event, DUPLICATES, Entry(number, version, content, before.versions[version]))
            else:
                # Where there is no time to go by, what comes later is newer.
                is_newer = version > before.newest or event.version.startswith(CONTENT)
                is_written = self._is_written(is_newer, content != before.content)
                before.versions[version] = is_written
                if is_newer:
                    known[number] = Known(before.versions, version, content)
                yield Verdict(event, UPDATED, Entry(number, version, content, is_written))

    def _content_number(self, event: Event) -> int:
        """The content without the update time, so that an alert that was only touched is told from one that changed.

        Only in its own field: an alert that was just created has the same time in others, and keeps it there.
        """
        version = event.version.encode("utf-8", "surrogatepass")
        return number_of(self._time.sub(lambda match: b"" if match[1] == version else match[0], event.raw))
