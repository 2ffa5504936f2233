# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the store to the destinations: each has its own place in the outbox, and one in error holds up no other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .destinations.file import FileDestination
from .errors import DestinationError, WdatpError
from .formats import Outgoing
from .presence import marks_of_line
from .store import Progress, Store


@dataclass
class Delivery:
    """A destination and how far it is in this run."""

    destination: FileDestination
    progress: Progress
    written: int = 0
    error: WdatpError | None = None

    @property
    def id(self) -> int:
        return self.progress.id

    @property
    def is_level(self) -> bool:
        """It has everything, so the next batch may go to it as soon as it is committed."""
        return self.error is None and self.progress.intent is None


class Outbox:
    """The outbox of one job with its destinations.

    The order of steps of a batch: `intend` (where each file stands), the commit that `note` is part of, `deliver`.
    """

    def __init__(self, store: Store, job: int, destinations: Sequence[FileDestination]) -> None:
        self.store = store
        self.job = job
        self.deliveries = [Delivery(item, store.destination(job, item.target)) for item in destinations]

    # --- a batch that is being committed ---------------------------------------------------------------------------

    def intend(self, batch_id: int, destination: int | None = None) -> None:
        """Inside the batch's transaction: notes where it will begin in the files that have all before it.

        `destination`: the one that it is for; None: all of them.
        """
        for item in self.deliveries:
            if item.is_level and destination in (None, item.id):
                try:
                    item.progress = item.destination.intent(item.progress, batch_id)
                except DestinationError as error:
                    item.error = error
        self._save()

    def deliver(self, batch: Outgoing) -> None:
        """After the commit: the batch into the files that were ready for it."""
        for item in self.deliveries:
            if item.error is None and item.progress.intent == batch.id:
                self._write(item, batch)

    def _write(self, item: Delivery, batch: Outgoing) -> None:
        try:
            item.progress = item.destination.write(item.progress, batch)
            item.written += batch.size
        except DestinationError as error:
            item.error = error

    def _save(self) -> None:
        self.store.save_progress(self.job, [item.progress for item in self.deliveries])

    # --- what is left over -----------------------------------------------------------------------------------------

    def catch_up(self, look: Callable[[Delivery], None] = lambda item: None) -> None:
        """What earlier runs left in the outbox, to every destination that takes it.

        `look`: sees what a destination's file holds that the store has not written (see holdings.py).
        """
        for item in self.deliveries:
            self._finish(item)
            if item.error is None:
                look(item)
            for batch in self.store.batches_after(self.job, item.id, item.progress.acked):
                if item.error is None:
                    self._intend_one(item, batch)
                if item.error is None:
                    self._write(item, batch)
                if item.error is not None:
                    break
                self.flush()

    def _finish(self, item: Delivery) -> None:
        """The batch that was being written when an earlier run ended."""
        if item.progress.intent is None:
            return
        batch = next(self.store.batches_after(self.job, item.id, item.progress.acked), None)
        if batch is None:
            return
        try:
            is_begun = item.destination.is_begun(item.progress, batch)
        except DestinationError as error:
            item.error = error
            return
        if is_begun:
            self._write(item, batch)
            self.flush()
        else:
            item.progress = item.progress._replace(intent=None)

    def leave_out_found(self, item: Delivery) -> None:
        """Puts what waits for a destination into the outbox anew, without what its file was found to hold.

        In the transaction in which that is noted: what the file holds is not looked for a second time.
        """
        last = self.store.last_batch(self.job)
        for batch in self.store.batches_after(self.job, item.id, item.progress.acked):
            if batch.id > last:
                break
            self._put_rest(item, batch)
            item.progress = item.progress._replace(acked=batch.id)
        self._save()

    def _put_rest(self, item: Delivery, batch: Outgoing) -> None:
        """The manifest has named these events already, and they get new sequence numbers, behind the file's own."""
        lines = batch.lines.split(b"\n")[:-1]
        marks = [marks_of_line(line, batch.origin["api"]) for line in lines]
        found = self.store.found(item.id, [mark for own in marks for mark in own])
        rest = [number for number, own in enumerate(marks) if not found.intersection(own)]
        if rest:
            text = b"".join(lines[number] + b"\n" for number in rest)
            ids = [batch.ids[number] for number in rest]
            self.store.put_batch(self.job, batch.received_at, batch.origin, ids, text, item.id)

    def _intend_one(self, item: Delivery, batch: Outgoing) -> None:
        try:
            item.progress = item.destination.intent(item.progress, batch.id)
        except DestinationError as error:
            item.error = error
            return
        self.flush()

    def flush(self) -> None:
        """Notes in a transaction of its own how far the destinations are."""
        with self.store.transaction():
            self._save()

    def close(self) -> None:
        for item in self.deliveries:
            item.destination.close()

    # --- results ---------------------------------------------------------------------------------------------------

    def has_all(self, batch_id: int, destination: int | None = None) -> bool:
        """Whether every destination, or the one that it is for, has this batch and all before it."""
        return all(item.progress.acked >= batch_id for item in self.deliveries if destination in (None, item.id))

    def pending(self) -> int:
        """Events that at least one destination still lacks."""
        return max((self._pending(item) for item in self.deliveries), default=0)

    def _pending(self, item: Delivery) -> int:
        return self.store.pending(self.job, item.id, item.progress.acked)

    def to_list(self) -> list[dict[str, Any]]:
        return [
            {
                "type": item.destination.kind,
                "target": item.destination.target,
                "written": item.written,
                "pending": self._pending(item),
                "error": item.error.to_dict() if item.error else None,
            }
            for item in self.deliveries
        ]
