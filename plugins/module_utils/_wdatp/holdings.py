# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which destinations lack an event. Most of the time the ledger alone answers; where it can't, the files do.

Two cases ask the files. Before a pull, whatever they hold that this store has not written (it was lost or restored from
a backup) is read once and remembered, so that it is not written again. And `reconcile` reads all of them, to find what
they lack although the ledger knows it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Optional

from .errors import DestinationError
from .ledger import Verdict
from .outbox import Delivery, Outbox
from .presence import Alert, Marks, Stretch, alerts_in, alerts_of, in_chunks, mark_of
from .store import Progress, Store
from .times import DAY, now_ticks

# Where an event goes: the numbers of deliveries; None: to all of them.
Targets = Optional[tuple[int, ...]]
NOWHERE: Targets = ()


class Holdings:
    """What the destinations of one run hold.

    `oldest`: files that were not changed since then (seconds since 1970) don't matter. `is_reconciling`: the files are
    read as a whole, and their word counts.
    """

    def __init__(
        self,
        store: Store,
        outbox: Outbox,
        oldest: float,
        is_reconciling: bool = False,
        warn: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.is_reconciling = is_reconciling
        self._store = store
        self._outbox = outbox
        self._oldest = oldest
        self._warn = warn
        self._marks: Marks | None = None

    def close(self) -> None:
        if self._marks is not None:
            self._marks.close()

    # --- reading the files -----------------------------------------------------------------------------------------

    def look(self, item: Delivery) -> None:
        """Reads and remembers what a file holds without the store's knowledge, so that it is not written again."""
        progress, stretches = item.destination.strange(item.progress, self._oldest)
        try:
            if self._store.read_only:
                for chunk in _chunks(stretches):
                    self._note(self._outbox.deliveries.index(item), chunk)
            elif stretches or progress != item.progress:
                self._remember(item, progress, stretches)
        except DestinationError as error:
            # Better an event twice than a pull that stops.
            self._warn(str(error))

    def _remember(self, item: Delivery, progress: Progress, stretches: Sequence[Stretch]) -> None:
        # By this host's clock: how long it is kept does not matter much.
        day = now_ticks() // DAY
        with self._store.transaction():
            for chunk in _chunks(stretches):
                self._store.add_found(item.id, (mark for alert in chunk for mark in alert.marks), day)
                # A store from a backup would use numbers anew that the file has.
                self._store.raise_sequence(1 + max((alert.sequence for alert in chunk), default=0))
            item.progress = progress
            if stretches:
                self._outbox.leave_out_found(item)
            else:
                self._store.save_progress(self._outbox.job, [progress])

    def read_all(self, feed: Callable[[Delivery, bytes], None]) -> None:
        """Reads the files as a whole; `feed` gets each alert's text. DestinationError where one can't be read."""
        for number, item in enumerate(self._outbox.deliveries):
            self._read_all(number, item, feed)

    def _read_all(self, number: int, item: Delivery, feed: Callable[[Delivery, bytes], None]) -> None:
        for chunk in _chunks(item.destination.everything(self._oldest)):
            self._note(number, chunk)
            for alert in chunk:
                feed(item, alert.text)
        # What waits for it is on its way.
        for batch in self._store.batches_after(self._outbox.job, item.id, item.progress.acked):
            lines = batch.lines.split(b"\n")[:-1]
            self._note(number, alerts_of(lines, batch.origin["api"]))

    def _note(self, number: int, alerts: Iterable[Alert]) -> None:
        if self._marks is None:
            self._marks = Marks()
        self._marks.add(number, [mark for alert in alerts for mark in alert.marks])

    # --- asking ----------------------------------------------------------------------------------------------------

    def lacking(self, api: str, verdicts: Sequence[Verdict]) -> list[Targets]:
        """For each verdict on an event of an API, which destinations that has to go to."""
        if self.is_reconciling:
            asked = [verdict for verdict in verdicts if verdict.entry.written]
        else:
            asked = [verdict for verdict in verdicts if verdict.is_due]
        if not asked or not self._has_marks():
            return [None if verdict.is_due else NOWHERE for verdict in verdicts]
        marks = {id(verdict): mark_of(api, verdict.event) for verdict in asked}
        held = [self._held(number, list(marks.values())) for number in range(len(self._outbox.deliveries))]
        return [self._targets(marks.get(id(verdict)), held) for verdict in verdicts]

    def _has_marks(self) -> bool:
        return (
            self.is_reconciling
            or self._marks is not None
            or any(self._store.has_found(item.id) for item in self._outbox.deliveries)
        )

    def _held(self, number: int, marks: list[int]) -> set[int]:
        held = self._store.found(self._outbox.deliveries[number].id, marks) if not self.is_reconciling else set()
        return held | (self._marks.found(number, marks) if self._marks is not None else set())

    @staticmethod
    def _targets(mark: int | None, held: Sequence[set[int]]) -> Targets:
        if mark is None:
            return NOWHERE
        lacking = tuple(number for number, marks in enumerate(held) if mark not in marks)
        return None if len(lacking) == len(held) else lacking

    def shipped(self, api: str, verdicts: Sequence[Verdict], targets: Sequence[Targets]) -> None:
        """These events are on their way now: met again in this run, they lack nowhere."""
        if not self.is_reconciling:
            # The ledger knows them from now on.
            return
        alerts = [
            Alert(b"", [mark_of(api, verdict.event)], 0)
            for verdict, where in zip(verdicts, targets)
            if where != NOWHERE
        ]
        for number in range(len(self._outbox.deliveries)):
            self._note(number, alerts)


def _chunks(stretches: Iterable[Stretch]) -> Iterator[list[Alert]]:
    """Some alerts of the files at a time. DestinationError."""
    for stretch in stretches:
        try:
            yield from in_chunks(alerts_in(stretch))
        except OSError as error:
            raise DestinationError(
                f"The output file {stretch.path} can't be read: {error.strerror or error}.",
                "Give the user who pulls the right to read it, so that nothing in it is written again.",
                code="destination.not_readable",
            ) from error
