# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pull that dies in this process, at any boundary between two changes on the disk, for the stateful test.

Dead is dead: whatever the engine tries on its way out changes nothing more; only what the kernel would close is closed.
The store is left as it lay on the disk in that moment (SQLite would tidy up when it is closed).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

# So much of a write is done when death comes in the middle of it, in tenths.
Share = int


class Killed(BaseException):
    """Not an Exception: nothing may catch it."""


class Reaper:
    """Counts boundaries; at the one that is meant, the pull dies. `store`: the path of its database."""

    def __init__(self, store: Path) -> None:
        self.store = store
        # How many boundaries are left; None: it lives.
        self.left: int | None = None
        self.share: Share = 0
        self.is_dead = False
        self._image: dict[str, bytes | None] = {}
        # What the kernel has to close.
        self.handles: set[int] = set()

    def arm(self, boundaries: int, share: Share) -> None:
        self.left, self.share, self.is_dead = boundaries, share, False

    def disarm(self) -> None:
        """Afterwards: the store as death has left it."""
        if self.is_dead:
            for handle in self.handles:
                os.close(handle)
            for name, content in self._image.items():
                path = self.store.with_name(name)
                path.unlink(missing_ok=True)
                if content is not None:
                    path.write_bytes(content)
            self.store.with_name(self.store.name + "-shm").unlink(missing_ok=True)
        self.left, self.is_dead = None, False
        self.handles.clear()

    def cross(self, last_deed: Callable[[], object] = lambda: None) -> None:
        if self.is_dead:
            raise Killed
        if self.left is None:
            return
        self.left -= 1
        if self.left < 0:
            last_deed()
            self._image = {name: self._content(name) for name in (self.store.name, self._wal)}
            self.is_dead = True
            raise Killed

    def commit(self, really: Callable[[], sqlite3.Cursor]) -> sqlite3.Cursor:
        """A commit: death before it, or when a part of it is in the log."""
        self.cross()
        before = len(self._content(self._wal) or b"")
        found = really()
        try:
            self.cross()
        except Killed:
            after = self._image[self._wal] or b""
            self._image[self._wal] = after[: before + (len(after) - before) * self.share // 10]
            raise
        return found

    @property
    def _wal(self) -> str:
        return self.store.name + "-wal"

    def _content(self, name: str) -> bytes | None:
        path = self.store.with_name(name)
        return path.read_bytes() if path.exists() else None


class WatchedOs:
    """The module os as the engine sees it: each change is a boundary, and a write can be torn."""

    watched = ("makedirs", "ftruncate", "pwrite", "fsync", "rename", "replace", "unlink")

    def __init__(self, reaper: Reaper) -> None:
        self.reaper = reaper

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in self.watched:
            return real

        def watched(*args: Any, **named: Any) -> Any:
            self.reaper.cross()
            return real(*args, **named)

        return watched

    def open(self, *args: Any) -> int:
        self.reaper.cross()
        handle = os.open(*args)
        self.reaper.handles.add(handle)
        return handle

    def close(self, handle: int) -> None:
        self.reaper.handles.discard(handle)
        os.close(handle)

    def write(self, handle: int, text: Any) -> int:
        self.reaper.cross()
        self.reaper.cross(lambda: os.write(handle, text[: max(1, len(text) * self.reaper.share // 10)]))
        return os.write(handle, text)


def watched_sqlite(reaper: Reaper) -> Any:
    """The module sqlite3 with connections whose changes are boundaries."""

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            if sql == "COMMIT":
                return reaper.commit(lambda: super(Connection, self).execute(sql))
            if not sql.startswith("SELECT"):
                reaper.cross()
            return super().execute(sql, *values)

        def executemany(self, sql: str, *values: Any) -> sqlite3.Cursor:
            reaper.cross()
            return super().executemany(sql, *values)

        def executescript(self, sql: str) -> sqlite3.Cursor:
            reaper.cross()
            return super().executescript(sql)

    class Module:
        def __getattr__(self, name: str) -> Any:
            return getattr(sqlite3, name)

        def connect(self, *args: Any, **named: Any) -> sqlite3.Connection:
            reaper.cross()
            return sqlite3.connect(*args, factory=Connection, **named)

    return Module()
