# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several streams at a time, and none that waits in the way of the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

Item = TypeVar("Item")

# Whoever takes longer is most likely waiting: for a server that hangs, or for the end of a hold. Another one may begin,
# as long as there are no more than so many who take long: each may have two pages in memory.
_SLOW_SECONDS = 5.0
_MOST_SLOW = 24


def in_parallel(items: Iterable[Item], work: Callable[[Item], None], at_once: int) -> None:
    """Works on all items, `at_once` at a time, those that take long not counted. 1: one after the other, here.

    What `work` raises is raised here, once what has begun is done; nothing more is begun then.
    """
    if at_once == 1:
        for item in items:
            work(item)
    else:
        _Crew(iter(items), work, at_once).run()


class _Crew:
    def __init__(self, items: Iterable[Item], work: Callable[[Item], None], at_once: int) -> None:
        self._items = iter(items)
        self._work = work
        self._at_once = at_once
        self._begun: dict[Future[None], float] = {}
        self._is_more = True

    def run(self) -> None:
        failure: BaseException | None = None
        with ThreadPoolExecutor(self._at_once + _MOST_SLOW, thread_name_prefix="wdatp-stream") as pool:
            self._begin(pool)
            while self._begun:
                done, _others = wait(self._begun, self._patience(), FIRST_COMPLETED)
                for future in done:
                    del self._begun[future]
                    failure = failure or future.exception()
                if failure is None:
                    self._begin(pool)
        if failure is not None:
            raise failure

    def _begin(self, pool: ThreadPoolExecutor) -> None:
        while self._is_more and self._has_room():
            try:
                item = next(self._items)
            except StopIteration:
                self._is_more = False
                return
            self._begun[pool.submit(self._work, item)] = time.monotonic()

    def _has_room(self) -> bool:
        slow = sum(age >= _SLOW_SECONDS for age in self._ages())
        return len(self._begun) - slow < self._at_once and slow < _MOST_SLOW

    def _patience(self) -> float | None:
        """Seconds until the next one counts as slow, where another is waiting for that."""
        young = [_SLOW_SECONDS - age for age in self._ages() if age < _SLOW_SECONDS]
        return min(young, default=None) if self._is_more else None

    def _ages(self) -> list[float]:
        now = time.monotonic()
        return [now - begun for begun in self._begun.values()]
