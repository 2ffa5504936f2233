# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which events the output files hold: read from the files themselves, where the ledger alone can't tell.

That is so when a store is younger or older than its files (it was lost, or restored from a backup), and when somebody
asks whether everything is there. An event is looked for by a mark: a number made of its API, id and version.
"""

from __future__ import annotations

import errno
import os
import re
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from typing import Any, NamedTuple

from .formats import alert_in
from .page import Event, parse_line
from .sources.registry import SOURCES
from .store import among, number_of

_BLOCK = 1 << 22
_CHUNK = 1000
# How rotated files are named: alerts.jsonl.1, alerts.jsonl.2.gz, alerts.jsonl-20261125, alerts-20261125.jsonl.gz
_NUMBER = r"[.-]\d[\dT:_.-]*"
# What opens packed ones: modules that not every Python has.
_PACKED = {".gz": "gzip", ".bz2": "bz2", ".xz": "lzma"}
_SOURCES = {name: kind() for name, kind in SOURCES.items()}


class Stretch(NamedTuple):
    """A file from a position on."""

    path: str
    start: int


class Alert(NamedTuple):
    """An alert in a file: the line's own text without the line end, its marks, and its sequence number or 0."""

    text: bytes
    marks: list[int]
    sequence: int


def mark_of(api: str, event: Event) -> int:
    return number_of(f"{api}\n{event.id}\n{event.version}")


def rotated(path: str) -> list[str]:
    """The files that rotation made of this one, oldest first by their time."""
    directory, name = os.path.split(path)
    stem, ending = os.path.splitext(name)
    packed = "|".join(map(re.escape, _PACKED))
    names = (re.escape(name) + _NUMBER, re.escape(stem) + _NUMBER + re.escape(ending))
    pattern = re.compile(f"(?:{'|'.join(names)})(?:{packed})?")
    try:
        found = [entry for entry in os.scandir(directory or ".") if pattern.fullmatch(entry.name) and entry.is_file()]
    except OSError:
        return []
    return [entry.path for entry in sorted(found, key=lambda entry: (entry.stat().st_mtime_ns, entry.name))]


def alerts_in(stretch: Stretch) -> Iterator[Alert]:
    """The alerts of a file's whole lines. What is no alert is passed over. OSError."""
    return alerts_of(_lines(stretch))


def alerts_of(lines: Iterable[bytes], api: str | None = None) -> Iterator[Alert]:
    """The alerts of lines without their ends. `api`: whose they are, where that is known."""
    for line in lines:
        text, named, sequence = alert_in(line)
        fields = parse_line(text)
        if fields is None:
            continue
        known = api or named
        names = [known] if known in _SOURCES else _apis_of(fields)
        yield Alert(text, [mark_of(name, _SOURCES[name].event(text, fields)) for name in names], sequence)


def marks_of_line(line: bytes, api: str | None) -> list[int]:
    """The marks of the alert on a line; none where it is none."""
    return [mark for alert in alerts_of([line], api) for mark in alert.marks]


def _apis_of(fields: dict[str, Any]) -> list[str]:
    """Whose rows these fields may be: without an envelope, the time tells, and two of Graph's share theirs."""
    return [name for name, source in _SOURCES.items() if source.identify(fields)[1]] or list(_SOURCES)


def _lines(stretch: Stretch) -> Iterator[bytes]:
    packed = _PACKED.get(os.path.splitext(stretch.path)[1])
    module: Any = import_module(packed) if packed else None
    broken: tuple[type[Exception], ...] = (EOFError, zlib.error, getattr(module, "LZMAError", EOFError))
    try:
        with (module.open if packed else open)(stretch.path, "rb") as file:
            file.seek(stretch.start)
            yield from _whole_lines(file)
    except broken as error:
        raise OSError(errno.EIO, f"the packed file is damaged ({error})", stretch.path) from error


def _whole_lines(file: Any) -> Iterator[bytes]:
    rest = b""
    while True:
        block = file.read(_BLOCK)
        if not block:
            # A line without its end is not whole.
            return
        *lines, rest = (rest + block).split(b"\n")
        yield from lines


class Marks:
    """Marks of each destination's file, in a database that is gone with it: a file may hold more than memory does."""

    def __init__(self) -> None:
        # Streams that are pulled at the same time ask it, one after the other.
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=OFF")
        self._db.execute(
            "CREATE TABLE mark (destination INTEGER, mark INTEGER, PRIMARY KEY (destination, mark)) WITHOUT ROWID"
        )

    def close(self) -> None:
        self._db.close()

    def add(self, destination: int, marks: Sequence[int]) -> None:
        self._db.execute("BEGIN")
        self._db.executemany("INSERT OR IGNORE INTO mark VALUES (?,?)", ((destination, mark) for mark in marks))
        self._db.execute("COMMIT")

    def found(self, destination: int, marks: Sequence[int]) -> set[int]:
        """Those of the marks that a destination's file holds."""
        return among(self._db, "SELECT mark FROM mark WHERE destination=? AND mark", (destination,), marks)


def in_chunks(alerts: Iterator[Alert]) -> Iterator[list[Alert]]:
    """Some at a time."""
    chunk: list[Alert] = []
    for alert in alerts:
        chunk.append(alert)
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    yield chunk
