# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What this host remembers: cursors, the ledger of its events, and the outbox. One SQLite file, one run at a time.

The cursor, the ledger's entries and the events of a batch commit together, so the cursor can never pass an event that
is not in the outbox. What the ledger keeps of an event are two 64-bit numbers (its id and its version), not its text.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

from .errors import StoreError
from .files import make_directory, open_or_create
from .formats import Outgoing
from .page import CONTENT, Event
from .schema import APPLICATION_ID, SCHEMA, create, migrate

_LOCK_SECONDS = 5.0
# What was learned of lateness holds so long without being seen again.
_LATENESS_DAYS = 30
# The ledger keeps what was met in so many days. No API gives alerts longer than 180 days
# (learn.microsoft.com/defender-xdr/data-privacy), so nothing that was forgotten can come again.
LEDGER_DAYS = 400
# SQLite allowed 999 variables in a statement before 3.32.
_CHUNK = 890
_ROWS = _CHUNK // 6
# Bytes of blobs are worth large pages; the cache stays small, whatever the ledger's size.
_PRAGMAS = (
    "page_size=16384",
    "journal_mode=WAL",
    "synchronous=FULL",
    "cache_size=-2000",
    "temp_store=MEMORY",
    # In pages: a batch's events are gone from the outbox again before many of them are copied into the database.
    "wal_autocheckpoint=4000",
)


class Cursor(NamedTuple):
    """`value`: the API's own text of the newest update time that was reached; `ticks`: the same as a number."""

    value: str
    ticks: int


class Progress(NamedTuple):
    """How far a destination is. `intent`: the batch being written, from `position` of the file (device, inode) on.

    `end`: how long the file was when the store last wrote to it, -1 where it never did; `mtime`: its time then (ns).
    """

    id: int
    acked: int
    intent: int | None
    position: int
    device: int
    inode: int
    end: int
    mtime: int


class Known(NamedTuple):
    """An event id in the ledger: its versions (True: that one went to the destinations), and the content of the
    newest where that is kept."""

    versions: dict[int, bool]
    newest: int
    content: int | None


class Entry(NamedTuple):
    """A version of an event as the ledger keeps it."""

    id: int
    version: int
    content: int | None
    written: bool


class Piece(NamedTuple):
    """A batch as the manifest names it: for all destinations or one, and what it held."""

    batch: int
    job: int
    stream: int
    tenant: str
    api: str
    target: str | None
    size: int
    # The first line's and all lines' SHA-256, in hexadecimal.
    first_line: str
    sha256: str
    first_id: str
    last_id: str


def number_of(text: str | bytes) -> int:
    """A signed 64-bit number for a text, the same on every machine: what the ledger keeps of an id."""
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big", signed=True)


def version_number(event: Event) -> int:
    return number_of(event.version) if event.version.startswith(CONTENT) else event.ticks


@contextmanager
def _explained(path: str) -> Iterator[None]:
    """SQLite's and the system's complaints as StoreError with a remedy."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise _sqlite_error(error, path) from error
    except OSError as error:
        raise _system_error(error, path) from error


def _sqlite_error(error: sqlite3.DatabaseError, path: str) -> StoreError:
    text = str(error)
    if "full" in text or ("disk I/O" in text and _is_full(path)):
        return _full(path)
    if "locked" in text or "busy" in text:
        return StoreError(
            f"The store {path} is locked by another program.",
            "Let it finish (a backup, an open sqlite3 shell?) and run again.",
            code="store.locked",
        )
    if "not a database" in text or "malformed" in text:
        return StoreError(
            f"The store {path} is corrupt: {text}.",
            "Run once with reconcile: fill and with since set to before it broke: the store is put aside and a new one"
            " made from the API and from what the files hold. Nothing is written twice.",
            code="store.corrupt",
        )
    if "readonly" in text or "unable to open" in text or "disk I/O" in text:
        return _not_writable(path, text)
    return StoreError(f"The store {path} failed: {text}.", "See the message of SQLite.", code="store.failed")


def _system_error(error: OSError, path: str) -> StoreError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _full(path)
    return _not_writable(str(error.filename or path), error.strerror or str(error))


def _full(path: str) -> StoreError:
    return StoreError(
        f"No space is left for the store {path}.",
        "Free space on that file system and run again; what was committed is safe, and the pull goes on from there.",
        code="store.full",
    )


def _not_writable(path: str, why: str) -> StoreError:
    return StoreError(
        f"The state can't be written at {path}: {why}.",
        "Set state_dir to a directory that the user who runs this may write to, or give that user the right.",
        code="store.not_writable",
    )


def _is_full(path: str) -> bool:
    found = os.statvfs(os.path.dirname(path))
    return found.f_bavail == 0


class Store:
    """The store of one state directory, locked for one run. `read_only`: look, and leave no trace (check mode).

    `rebuild`: a store that is corrupt is put aside under another name, which `set_aside` tells, and a new one made.
    """

    def __init__(
        self, state_dir: str, read_only: bool = False, rebuild: bool = False, files_below: str | None = None
    ) -> None:
        """`files_below`: the directory in which files go by their names, where that is not the store's own."""
        self.directory = os.path.abspath(state_dir)
        self._files_below = os.path.abspath(files_below or state_dir)
        self.path = os.path.join(state_dir, "state.db")
        self.read_only = read_only
        self.set_aside: str | None = None
        self._lock = -1
        # Streams that are pulled at the same time use one connection, one after the other.
        self.guard = threading.RLock()
        with _explained(self.path):
            if not read_only:
                _make_directories(self.directory)
                self._lock = _take_lock(os.path.join(state_dir, "lock"))
            try:
                if rebuild and not read_only and self._is_corrupt():
                    self._put_aside()
                self._db = self._connect()
                self._check()
            except BaseException:
                self.close()
                raise

    def _connect(self) -> sqlite3.Connection:
        if not self.read_only:
            # Created before SQLite does, so that nobody else can read it for a moment.
            os.close(open_or_create(self.path, os.O_RDWR | os.O_CLOEXEC, 0o640))
            return _open(self.path)
        if not os.path.exists(self.path):
            return _nothing()
        # A log that a killed run left is read, and left for the next run. Where there is none, SQLite makes one beside
        # the database even to read it, and takes it away again only if it might write.
        mode = "ro" if os.path.exists(self.path + "-wal") else "rw"
        # Without the right to do that it can't read at all, unless it is told that nobody writes.
        if mode == "rw" and not os.access(os.path.dirname(self.path), os.W_OK):
            mode = "ro&immutable=1"
        place = self.path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
        db = _open(f"file:{place}?mode={mode}", uri=True)
        db.execute("PRAGMA query_only=1")
        return db

    def _check(self) -> None:
        db = self._db
        version, tables = _one(db, "PRAGMA user_version"), _one(db, "SELECT count(*) FROM sqlite_master")
        if tables == 0:
            if self.read_only:
                # A run was killed before it had made them.
                db.close()
                db = self._db = _nothing()
            else:
                for pragma in _PRAGMAS:
                    db.execute("PRAGMA " + pragma)
            create(db)
            return
        if _one(db, "PRAGMA application_id") != APPLICATION_ID:
            raise StoreError(
                f"{self.path} is a database of another program.",
                "Set state_dir to a directory of its own.",
                code="store.foreign",
            )
        if version > SCHEMA:
            raise StoreError(
                f"The store {self.path} was written by a newer version of this collection (schema {version}, this"
                f" version knows {SCHEMA}). It was not touched.",
                "Upgrade the collection on this host, or set another state_dir.",
                code="store.newer",
            )
        if not self.read_only:
            for pragma in _PRAGMAS[1:]:
                db.execute("PRAGMA " + pragma)
        if version < SCHEMA:
            self._migrate(version)

    def _migrate(self, version: int) -> None:
        if self.read_only:
            # What a run would find: a copy, as nothing may be touched.
            copy = _nothing()
            self._db.backup(copy)
            self._db.close()
            self._db = copy
        migrate(self._db, version)

    def _is_corrupt(self) -> bool:
        """Whether SQLite finds a broken page. StoreError where the store can't be read for another reason."""
        if not os.path.exists(self.path):
            return False
        try:
            with closing(sqlite3.connect(self.path, timeout=_LOCK_SECONDS)) as db:
                return bool(db.execute("PRAGMA quick_check(1)").fetchone() != ("ok",))
        except sqlite3.DatabaseError as error:
            if _sqlite_error(error, self.path).code != "store.corrupt":
                raise
            return True

    def _put_aside(self) -> None:
        """Another name for a corrupt store: some of it may still be read by a person."""
        aside = f"{self.path}.corrupt-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
        for suffix in ("-wal", "-shm", ""):
            if os.path.exists(self.path + suffix):
                os.replace(self.path + suffix, aside + suffix)
        self.set_aside = aside

    def close(self) -> None:
        if hasattr(self, "_db"):
            self._db.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self.guard, _explained(self.path):
            yield

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing. StoreError where it is nothing."""
        with self._reading():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    # --- jobs, streams, cursors ------------------------------------------------------------------------------------

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """What a query finds, for the rooms that have tables of their own (journal.py, health.py). StoreError."""
        with self._reading():
            return self._db.execute(query, values).fetchall()

    def change(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        """A statement for each of these rows. Inside a transaction."""
        self._db.executemany(statement, rows)

    def job(self, name: str) -> int:
        """The number of a job: what belongs together and has its own cursors, ledger and outbox."""
        return self._number("SELECT id FROM job WHERE name=?", "INSERT INTO job (name) VALUES (?)", name)

    def job_of(self, targets: Sequence[str]) -> int:
        """The number of the job that writes to one of these destinations already (the first counts), or of a new one.

        So a job stays itself, with its cursors and its ledger, when a destination is added or taken away.
        """
        for target in map(self.name_of, targets):
            with self._reading():
                row = self._db.execute("SELECT job FROM destination WHERE target=? ORDER BY id", (target,)).fetchone()
            if row is not None:
                return int(row[0])
        return self.job(f"files {uuid.uuid4()}")

    def forget_others(self, job: int, targets: Sequence[str]) -> list[tuple[str, int]]:
        """Drops the job's destinations that are not among these: what each still lacked is (target, events)."""
        with self.transaction():
            rows = self._db.execute("SELECT id, target, acked FROM destination WHERE job=?", (job,)).fetchall()
            others = [row for row in rows if row[1] not in set(map(self.name_of, targets))]
            self._db.executemany("DELETE FROM destination WHERE id=?", [(row[0],) for row in others])
            self._db.executemany("DELETE FROM found WHERE destination=?", [(row[0],) for row in others])
        return [(target, self.pending(job, number, acked)) for number, target, acked in others]

    def targets(self, job: int) -> list[str]:
        """The destinations of a job, as the store names them."""
        with self._reading():
            return [
                row[0] for row in self._db.execute("SELECT target FROM destination WHERE job=? ORDER BY id", (job,))
            ]

    def jobs_left(self, job: int, target: str) -> list[int]:
        """Other jobs in whose outbox events wait for this destination: it was in another company before."""
        query = (
            "SELECT job FROM destination AS d WHERE target=? AND job<>? AND EXISTS (SELECT 1 FROM batch"
            " WHERE batch.job=d.job AND batch.id>d.acked AND coalesce(batch.destination, d.id)=d.id) ORDER BY id"
        )
        with self._reading():
            return [row[0] for row in self._db.execute(query, (self.name_of(target), job))]

    def name_of(self, target: str) -> str:
        """A file inside the state directory goes by its name there: the directory may be moved or restored."""
        below = self._files_below
        return os.path.relpath(target, below) if target.startswith(below + os.sep) else target

    def path_of(self, name: str) -> str:
        """The path of a file, by what `name_of` calls it."""
        return os.path.join(self._files_below, name)

    def stream(self, job: int, tenant_id: str, api: str) -> int:
        """The number of one tenant and one API of a job."""
        return self._number(
            "SELECT id FROM stream WHERE job=? AND tenant=? AND api=?",
            "INSERT INTO stream (job, tenant, api) VALUES (?,?,?)",
            job,
            tenant_id.lower(),
            api,
        )

    def _number(self, select: str, insert: str, *values: object) -> int:
        """The id of a row, which is made where it is missing; -1 where nothing may be made."""
        with self._reading():
            row = self._db.execute(select, values).fetchone()
            if row is not None:
                return int(row[0])
            return -1 if self.read_only else int(self._db.execute(insert, values).lastrowid or 0)

    def cursor(self, stream: int, filter_key: str) -> Cursor | None:
        with self._reading():
            row = self._db.execute(
                "SELECT value, ticks FROM cursor WHERE stream=? AND filter=?", (stream, filter_key)
            ).fetchone()
        return None if row is None else Cursor(*row)

    def set_cursor(self, stream: int, filter_key: str, cursor: Cursor) -> None:
        """Inside a transaction."""
        self._db.execute("REPLACE INTO cursor VALUES (?,?,?,?)", (stream, filter_key, *cursor))

    # --- lateness --------------------------------------------------------------------------------------------------

    def lateness(self, stream: int, day: int) -> int:
        """How late (ticks) events of a stream came at most in the weeks before `day`, measured against the cursor."""
        query = "SELECT lateness FROM stream WHERE id=? AND lateness_day>=?"
        with self._reading():
            row = self._db.execute(query, (stream, day - _LATENESS_DAYS)).fetchone()
        return int(row[0]) if row else 0

    def set_lateness(self, stream: int, ticks: int, day: int) -> None:
        """Inside a transaction."""
        self._db.execute("UPDATE stream SET lateness=?, lateness_day=? WHERE id=?", (ticks, day, stream))

    # --- quarantine ------------------------------------------------------------------------------------------------

    def quarantined(self, stream: int, filter_key: str) -> list[tuple[int, int]]:
        """The spans of a stream that could not be read yet: (low, high) in ticks, oldest first."""
        query = "SELECT low, high FROM quarantine WHERE stream=? AND filter=? ORDER BY low"
        with self._reading():
            return list(self._db.execute(query, (stream, filter_key)))

    def quarantine(self, stream: int, filter_key: str, span: tuple[int, int], since: str, why: tuple[str, str]) -> None:
        """Notes a span that can't be read; `why`: code and message. Inside a transaction."""
        self._db.execute(
            "INSERT OR IGNORE INTO quarantine VALUES (?,?,?,?,?,?,?)", (stream, filter_key, *span, since, *why)
        )

    def release(self, stream: int, filter_key: str, low: int) -> None:
        """A span was read after all. Inside a transaction."""
        self._db.execute("DELETE FROM quarantine WHERE stream=? AND filter=? AND low=?", (stream, filter_key, low))

    # --- the ledger ------------------------------------------------------------------------------------------------

    def known(self, stream: int, ids: Sequence[int]) -> dict[int, Known]:
        """What the ledger has of these ids."""
        found: dict[int, Known] = {}
        with self._reading():
            for start in range(0, len(ids), _CHUNK):
                part = ids[start : start + _CHUNK]
                marks = ",".join("?" * len(part))
                query = f"SELECT id, version, content, written FROM ledger WHERE stream=? AND id IN ({marks})"  # noqa: S608
                rows = self._db.execute(query, (stream, *part))
                for event_id, version, content, written in rows:
                    old = found.get(event_id)
                    if old is None:
                        found[event_id] = Known({version: bool(written)}, version, content)
                    else:
                        old.versions[version] = bool(written)
                        if version > old.newest:
                            found[event_id] = Known(old.versions, version, content)
        return found

    def remember(self, stream: int, entries: Sequence[Entry], day: int) -> None:
        """Versions into the ledger, as met on `day` (since 1970, by Microsoft's clock). Inside a transaction."""
        # Many rows a statement: executemany would let go of the interpreter's lock, and win it back, for each row.
        for start in range(0, len(entries), _ROWS):
            part = entries[start : start + _ROWS]
            marks = ",".join(["(?,?,?,?,?,?)"] * len(part))
            values = [value for entry in part for value in (stream, *entry, day)]
            query = f"INSERT OR IGNORE INTO ledger (stream, id, version, content, written, day) VALUES {marks}"  # noqa: S608
            self._db.execute(query, values)

    def prune(self, stream: int, day: int) -> None:
        """Forgets, once a day, what was met so long ago that no API gives it any more. Inside a transaction.

        `day`: by Microsoft's clock, so that a wrong one of this host makes nobody forget.
        """
        due = "UPDATE stream SET pruned_day=? WHERE id=? AND pruned_day<>?"
        if self._db.execute(due, (day, stream, day)).rowcount:
            self._db.execute("DELETE FROM ledger WHERE stream=? AND day<?", (stream, day - LEDGER_DAYS))
            self._db.execute("DELETE FROM found WHERE day<?", (day - LEDGER_DAYS,))

    # --- what files hold without the store's knowledge ---------------------------------------------------------------

    def add_found(self, destination: int, marks: Iterable[int], day: int) -> None:
        """Inside a transaction."""
        self._db.executemany("INSERT OR IGNORE INTO found VALUES (?,?,?)", ((destination, mark, day) for mark in marks))

    def has_found(self, destination: int) -> bool:
        with self._reading():
            return bool(_one(self._db, "SELECT EXISTS (SELECT 1 FROM found WHERE destination=?)", destination))

    def found(self, destination: int, marks: Sequence[int]) -> set[int]:
        """Those of the marks that a destination's file is known to hold."""
        with self._reading():
            return among(self._db, "SELECT mark FROM found WHERE destination=? AND mark", (destination,), marks)

    def raise_sequence(self, least: int) -> None:
        """The next sequence number is at least this one. Inside a transaction."""
        self._db.execute("UPDATE sequence SET next=max(next, ?)", (least,))

    # --- the outbox ------------------------------------------------------------------------------------------------

    def put_batch(
        self,
        job: int,
        received_at: str,
        origin: dict[str, str | None],
        ids: list[str],
        lines: bytes,
        destination: int | None = None,
    ) -> Outgoing:
        """Events into the outbox, for one destination or for all of the job. Inside a transaction."""
        count = len(ids)
        first = _one(self._db, "SELECT next FROM sequence")
        self._db.execute("UPDATE sequence SET next=?", (first + count,))
        values = (job, count, received_at, first, json.dumps(origin), json.dumps(ids), lines, destination)
        cursor = self._db.execute(
            "INSERT INTO batch (job, size, received_at, first_sequence, origin, ids, lines, destination)"
            " VALUES (?,?,?,?,?,?,?,?)",
            values,
        )
        return Outgoing(int(cursor.lastrowid or 0), count, received_at, first, origin, ids, lines)

    def last_batch(self, job: int) -> int:
        """The newest batch of a job that is in the outbox; 0 where there is none."""
        with self._reading():
            return _one(self._db, "SELECT coalesce(max(id), 0) FROM batch WHERE job=?", job)

    def batches_after(self, job: int, destination: int, acked: int) -> Iterator[Outgoing]:
        """The outbox of a destination behind a batch, oldest first, one at a time."""
        while True:
            with self._reading():
                row = self._db.execute(
                    "SELECT id, size, received_at, first_sequence, origin, ids, lines FROM batch"
                    " WHERE job=? AND id>? AND coalesce(destination, ?)=? ORDER BY id LIMIT 1",
                    (job, acked, destination, destination),
                ).fetchone()
            if row is None:
                return
            acked = row[0]
            number, size, received_at, first, origin, names, lines = row
            yield Outgoing(number, size, received_at, first, json.loads(origin), json.loads(names), lines)

    def pending(self, job: int, destination: int, acked: int) -> int:
        """How many events wait for a destination behind a batch."""
        query = "SELECT coalesce(sum(size), 0) FROM batch WHERE job=? AND id>? AND coalesce(destination, ?)=?"
        with self._reading():
            return _one(self._db, query, job, acked, destination, destination)

    def destination(self, job: int, target: str) -> Progress:
        """How far a destination is; a new one begins with what comes from now on."""
        query = (
            'SELECT id, acked, intent, coalesce(position, 0), coalesce(device, 0), coalesce(inode, 0), "end", mtime'
            " FROM destination WHERE job=? AND target=?"
        )
        with self._reading():
            target = self.name_of(target)
            row = self._db.execute(query, (job, target)).fetchone()
            if row is None:
                last = _one(self._db, "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name='batch'")
                if self.read_only:
                    return Progress(-1, last, None, 0, 0, 0, -1, 0)
                self._db.execute("INSERT INTO destination (job, target, acked) VALUES (?,?,?)", (job, target, last))
                row = self._db.execute(query, (job, target)).fetchone()
        return Progress(*row)

    def save_progress(self, job: int, progress: Sequence[Progress]) -> None:
        """Notes how far the destinations are, and drops what all of them have. Inside a transaction."""
        self._db.executemany(
            'UPDATE destination SET acked=?, intent=?, position=?, device=?, inode=?, "end"=?, mtime=? WHERE id=?',
            [(*item[1:], item.id) for item in progress],
        )
        self._db.execute(
            "DELETE FROM batch WHERE job=? AND id<=(SELECT min(acked) FROM destination"
            " WHERE job=batch.job AND id=coalesce(batch.destination, id))",
            (job,),
        )
        # One that was made for a destination which is none any more.
        self._db.execute(
            "DELETE FROM batch WHERE job=? AND destination NOT IN (SELECT id FROM destination WHERE job=batch.job)",
            (job,),
        )

    # --- the manifest ----------------------------------------------------------------------------------------------

    def add_piece(self, stream: int, destination: int | None, piece: tuple[int, int, str, str, str, str]) -> None:
        """(batch, size, first line, sha256, first id, last id), for the manifest. Inside a transaction."""
        batch, *rest = piece
        self._db.execute("INSERT INTO part VALUES (?,?,?,?,?,?,?,?)", (batch, stream, destination, *rest))

    def pieces(self) -> list[Piece]:
        """What was committed since the last entry of the manifest, by job, oldest first."""
        query = (
            "SELECT part.batch, stream.job, part.stream, tenant, api, target, part.size, first_line, sha256, first_id,"
            " last_id FROM part JOIN stream ON stream.id=part.stream"
            " LEFT JOIN destination ON destination.id=part.destination ORDER BY stream.job, part.batch"
        )
        with self._reading():
            return [Piece(*row) for row in self._db.execute(query)]

    def entries(self) -> list[tuple[int, bytes, bool]]:
        """The newest entries of the manifest: (run, line, whether its file is known to have it), oldest first."""
        with self._reading():
            rows = self._db.execute("SELECT run, line, is_written FROM manifest ORDER BY run")
            return [(run, bytes(line), bool(is_written)) for run, line, is_written in rows]

    def add_entry(self, run: int, job: int, line: bytes) -> None:
        """An entry, which speaks for all pieces of a job so far. Inside a transaction."""
        self._db.execute("INSERT INTO manifest (run, line) VALUES (?,?)", (run, line))
        self._db.execute("DELETE FROM part WHERE stream IN (SELECT id FROM stream WHERE job=?)", (job,))

    def entry_written(self, run: int) -> None:
        """The manifest's file has an entry; those before it need not be kept. Inside a transaction."""
        self._db.execute("UPDATE manifest SET is_written=1 WHERE run=?", (run,))
        self._db.execute("DELETE FROM manifest WHERE run<?", (run,))


def _make_directories(path: str) -> None:
    """A directory and those above it that are missing; each belongs to the owner of the one that it is in. OSError."""
    if not os.path.isdir(path):
        above = os.path.dirname(path)
        if above != path:
            _make_directories(above)
        make_directory(path, 0o750)


def _nothing() -> sqlite3.Connection:
    """What check mode looks at where there is no store yet."""
    return _open(":memory:")


def _open(name: str, uri: bool = False) -> sqlite3.Connection:
    """A connection that threads share; who uses it when, is the store's business."""
    return sqlite3.connect(name, timeout=_LOCK_SECONDS, isolation_level=None, check_same_thread=False, uri=uri)


def among(db: sqlite3.Connection, query: str, values: tuple[object, ...], numbers: Sequence[int]) -> set[int]:
    """Those of the numbers that a query finds, which is asked with `... IN (...)` at its end. StoreError."""
    found: set[int] = set()
    for start in range(0, len(numbers), _CHUNK):
        part = numbers[start : start + _CHUNK]
        rows = db.execute(f"{query} IN ({','.join('?' * len(part))})", (*values, *part))
        found.update(row[0] for row in rows)
    return found


def _one(db: sqlite3.Connection, query: str, *values: object) -> int:
    row = db.execute(query, values).fetchone()
    return int(row[0])


def _take_lock(path: str) -> int:
    """A lock that the kernel drops when its holder dies. StoreError names the holder."""
    handle = open_or_create(path, os.O_RDWR | os.O_CLOEXEC, 0o640)
    end = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > end:
                holder = os.pread(handle, 64, 0).decode("ascii", "replace").strip() or "unknown"
                os.close(handle)
                raise StoreError(
                    f"Another pull is running on this state (process {holder}, lock {path}).",
                    "Wait until it ends, or use a state_dir of its own for each job that runs at the same time.",
                    code="store.busy",
                ) from None
            time.sleep(0.1)
    os.ftruncate(handle, 0)
    os.pwrite(handle, str(os.getpid()).encode(), 0)
    return handle
