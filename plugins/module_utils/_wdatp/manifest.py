# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest: one line for each run in `manifest.jsonl`, each with the hash of the line before it.

From it a later reader can show that nothing was removed: neither a line of the manifest (the chain of hashes breaks)
nor an alert of a file (the hash of the batch that held it is not found any more). The store keeps the newest line, so
that the end of the chain can't be cut off either, and finishes what a crash has left undone.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from .files import open_or_create, sync_directory
from .store import Piece, Store
from .times import format_time, now_ticks

NAME = "manifest.jsonl"
_MODE = 0o640
_BLOCK = 1 << 16


def piece_of(lines: bytes) -> tuple[str, str]:
    """(SHA-256 of the first line, of all lines): what the manifest keeps of a batch. Lines with their ends."""
    first = lines[: lines.index(b"\n") + 1]
    return hashlib.sha256(first).hexdigest(), hashlib.sha256(lines).hexdigest()


class Manifest:
    """The manifest of one state directory."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.path = os.path.join(store.directory, NAME)

    @property
    def runs(self) -> int:
        """How many runs there were."""
        return self._newest()[0]

    def settle(self) -> None:
        """Finishes what an earlier run has begun: pieces without an entry, entries that the file lacks. OSError."""
        for job, group in groupby(self._store.pieces(), key=lambda piece: piece.job):
            self._commit(job, {"interrupted": True, "streams": list(_streams_of(list(group)))})
        self._write()

    def append(self, job: int, entry: Mapping[str, Any]) -> dict[str, Any]:
        """An entry for a run that has come to its end: {path, run, sha256}. OSError where the file can't be written."""
        run, line = self._commit(job, entry)
        self._write()
        return {"path": self.path, "run": run, "sha256": hashlib.sha256(line).hexdigest()}

    def _commit(self, job: int, entry: Mapping[str, Any]) -> tuple[int, bytes]:
        newest, last = self._newest()
        run = newest + 1
        head = {"run": run, "at": format_time(now_ticks()), "destinations": self._store.targets(job)}
        whole = {**head, **entry, "previous": _name_of(last)}
        line = json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace") + b"\n"
        with self._store.transaction():
            self._store.add_entry(run, job, line)
        return run, line

    def _newest(self) -> tuple[int, bytes]:
        """The newest entry, (run, line): the store's; the file's where the store is from a backup, or a new one."""
        known = self._store.entries()
        run, line = (known[-1][0], known[-1][1]) if known else (0, b"")
        last = _last_line(self.path)
        there = _run_of(last)
        return (there, last) if there > run else (run, line)

    def _write(self) -> None:
        for run, line, is_written in self._store.entries():
            if not is_written:
                _append(self.path, line)
                with self._store.transaction():
                    self._store.entry_written(run)


def _name_of(line: bytes) -> str | None:
    """What a line is called in the one behind it; the very first has none before it."""
    return hashlib.sha256(line).hexdigest() if line else None


def _last_line(path: str) -> bytes:
    """The last whole line of a file; empty where there is none."""
    try:
        with open(path, "rb") as file:
            end = file.seek(0, os.SEEK_END)
            text, size = b"", _BLOCK
            while text.count(b"\n") < 2 and len(text) < end:
                file.seek(max(0, end - size))
                text, size = file.read(min(size, end)), size * 2
    except OSError:
        # Missing, or unreadable: whoever writes to it next says so.
        return b""
    lines = text[: text.rfind(b"\n") + 1].splitlines(keepends=True)
    return lines[-1] if lines else b""


def _run_of(line: bytes) -> int:
    """The number of the run that a line is of; 0 where it is no entry."""
    try:
        return int(json.loads(line)["run"])
    except (ValueError, KeyError, TypeError):
        return 0


def _append(path: str, line: bytes) -> None:
    """The line at the end of the file, once: after a crash it, or a part of it, may be there. OSError."""
    handle = open_or_create(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC, _MODE)
    try:
        size = os.fstat(handle).st_size
        if not size:
            # The entry of a new file in its directory has to survive a power cut as well.
            sync_directory(os.path.dirname(path))
        start = max(0, size - len(line))
        end = os.pread(handle, len(line), start)
        if end != line:
            torn = end[end.rfind(b"\n") + 1 :]
            rest = line[len(torn) :] if line.startswith(torn) else b"\n" + line
            while rest:
                rest = rest[os.write(handle, rest) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def _streams_of(pieces: Sequence[Piece]) -> Iterator[dict[str, Any]]:
    for own in by_stream(pieces).values():
        yield {"tenant_id": own[0].tenant, "api": own[0].api, **batches_of(own)}


def by_stream(pieces: Sequence[Piece]) -> dict[int, list[Piece]]:
    """The pieces of each stream, by its number."""
    found: dict[int, list[Piece]] = {}
    for piece in pieces:
        found.setdefault(piece.stream, []).append(piece)
    return found


def batches_of(pieces: Sequence[Piece]) -> dict[str, Any]:
    """What was written for a stream, as an entry names it."""
    if not pieces:
        return {"written": 0}
    return {
        "written": sum(piece.size for piece in pieces),
        "first": pieces[0].first_id,
        "last": pieces[-1].last_id,
        "batches": [[piece.size, piece.first_line, piece.sha256, piece.target] for piece in pieces],
    }


# --- reading it ----------------------------------------------------------------------------------------------------


@dataclass
class Batch:
    """A batch that a manifest speaks of."""

    run: int
    size: int
    first_line: str
    sha256: str
    is_found: bool = False


@dataclass
class Chain:
    """What the manifest says. `problems`: where it does not hold together."""

    runs: int = 0
    problems: list[str] = field(default_factory=list)
    entries: list[dict[str, Any]] = field(default_factory=list)

    def batches(self, target: str) -> list[Batch]:
        """The batches that a destination has got, in order."""
        return [
            Batch(entry["run"], size, first_line, sha256)
            for entry in self.entries
            if target in entry["destinations"]
            for stream in entry["streams"]
            for size, first_line, sha256, only in stream.get("batches", ())
            if only in (None, target)
        ]


def read_chain(store: Store, paths: Sequence[str]) -> Chain:
    """Reads a manifest, its rotated files first, and checks each line against the hash in the next one.

    Its end is checked against the store. What is gone from its beginning, as after rotation, is no problem.
    """
    chain, previous = Chain(), None
    for number, line in enumerate(_all_lines(paths)):
        try:
            entry = json.loads(line)
            is_next = number == 0 or entry["previous"] == previous
            entry["run"], entry["destinations"], entry["streams"]
        except (ValueError, KeyError, TypeError):
            chain.problems.append(f"line {number + 1} of the manifest is no entry")
            previous = _name_of(line)
            continue
        if not is_next:
            chain.problems.append(f"before run {entry['run']}, an entry of the manifest was changed or removed")
        previous = _name_of(line)
        chain.runs += 1
        chain.entries.append(entry)
    known = store.entries()
    if known and known[-1][2] and previous != _name_of(known[-1][1]):
        chain.problems.append(f"the manifest does not end with run {known[-1][0]}, the last one that was written")
    return chain


def _all_lines(paths: Iterable[str]) -> Iterator[bytes]:
    for path in paths:
        try:
            with open(path, "rb") as file:
                yield from file
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise


class Checker:
    """Looks for the batches of a manifest in a destination's alerts, which are fed to it one by one, in order."""

    def __init__(self, batches: Sequence[Batch]) -> None:
        self.batches = batches
        self._waiting: dict[str, list[Batch]] = {}
        for batch in batches:
            self._waiting.setdefault(batch.first_line, []).append(batch)
        # Those whose first line was met: [batch, hash so far, lines left]
        self._open: list[list[Any]] = []
        self._alerts = 0

    def feed(self, text: bytes) -> None:
        """The text of the next alert, without its line end."""
        self._alerts += 1
        line = text + b"\n"
        for batch in self._waiting.get(hashlib.sha256(line).hexdigest(), ()):
            self._open.append([batch, hashlib.sha256(), batch.size])
        for item in self._open:
            item[1].update(line)
            item[2] -= 1
            if not item[2] and item[1].hexdigest() == item[0].sha256 and not item[0].is_found:
                item[0].is_found = True
                self._waiting[item[0].first_line].remove(item[0])
        self._open = [item for item in self._open if item[2]]

    def problems(self) -> list[str]:
        """The runs whose events are not in the file as they were written there, in words.

        What lies before the oldest batch that was found may have been rotated away, unless other alerts are there.
        """
        found = [batch.is_found for batch in self.batches]
        first = found.index(True) if any(found) else len(found)
        runs = [batch.run for batch in self.batches[first:] if not batch.is_found]
        said = [f"of run {run}, events were changed or removed" for run in dict.fromkeys(runs)]
        strange = self._alerts - sum(batch.size for batch in self.batches if batch.is_found)
        if strange > 0 and not all(found):
            said.append(
                f"{strange} alerts are part of no batch as it was written: alerts beside them were changed or removed"
            )
        return said
