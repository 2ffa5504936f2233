# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the store to the destinations: each has its own place in the outbox, and one in error holds up no other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .destinations.file import FileDestination
from .errors import DestinationError, WdatpError
from .formats import Outgoing
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

    def catch_up(self) -> None:
        """What earlier runs left in the outbox, to every destination that takes it."""
        for item in self.deliveries:
            for batch in self.store.batches_after(self.job, item.id, item.progress.acked):
                if item.progress.intent != batch.id:
                    self._intend_one(item, batch)
                if item.error is None:
                    self._write(item, batch)
                if item.error is not None:
                    break
                self.flush()

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
