# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One step ahead: the next batch is fetched while this one is written."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def one_ahead(items: Iterable[Item]) -> Generator[Item, None, None]:
    """The same items; while the caller works on one, the next is made in a thread, never more than one.

    What making an item raises is raised here in its place. Closing waits for the item that is being made.
    """
    iterator = iter(items)
    end = object()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="wdatp-ahead") as pool:
        following = pool.submit(next, iterator, end)
        while True:
            item = following.result()
            if item is end:
                return
            following = pool.submit(next, iterator, end)
            yield item  # type: ignore[misc]
            # Or it would stay in memory while the next is waited for.
            del item
