# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The store: all or nothing, one run at a time, no trace in check mode, and words for each way in which it fails."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp import schema
from ansible_collections.secops.defender.plugins.module_utils._wdatp import store as store_module
from ansible_collections.secops.defender.plugins.module_utils._wdatp.errors import StoreError
from ansible_collections.secops.defender.plugins.module_utils._wdatp.page import Event
from ansible_collections.secops.defender.plugins.module_utils._wdatp.schema import SCHEMA
from ansible_collections.secops.defender.plugins.module_utils._wdatp.store import (
    LEDGER_DAYS,
    Cursor,
    Entry,
    Known,
    Progress,
    Store,
    number_of,
    version_number,
)
from hypothesis import given
from hypothesis import strategies as st

ORIGIN = {"credential": None, "organization": "Contoso", "tenant_id": "t", "api": "graph_alerts"}
IS_ROOT = os.geteuid() == 0
TODAY = 20_000


def fill(store: Store, ids: tuple[str, ...] = ("a", "b"), cursor: str = "2026-11-24T08:00:00Z") -> int:
    """One batch of a job, as a pull commits it; the stream's number."""
    job = store.job("job")
    stream = store.stream(job, "tenant", "graph_alerts")
    progress = store.destination(job, "/out")
    with store.transaction():
        store.remember(stream, [Entry(number_of(name), 1, None, True) for name in ids], TODAY)
        batch = store.put_batch(job, "now", ORIGIN, list(ids), b"".join(b"%b\n" % name.encode() for name in ids))
        store.set_cursor(stream, "", Cursor(cursor, 1))
        store.save_progress(job, [progress._replace(intent=batch.id, position=7)])
    return stream


def listing(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def refusal(state_dir: Path, read_only: bool = False) -> StoreError:
    with pytest.raises(StoreError) as caught:
        Store(str(state_dir), read_only=read_only).close()
    assert caught.value.remedy
    return caught.value


# --- what it keeps -------------------------------------------------------------------------------------------------


def test_a_new_store_is_made_with_its_directory(tmp_path: Path) -> None:
    with Store(str(tmp_path / "deep" / "state")):
        pass
    assert (tmp_path / "deep" / "state" / "state.db").stat().st_size > 0
    db = sqlite3.connect(str(tmp_path / "deep" / "state" / "state.db"))
    assert db.execute("PRAGMA user_version").fetchone() == (SCHEMA,)
    assert db.execute("PRAGMA application_id").fetchone() == (int.from_bytes(b"wdat", "big"),)
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    db.close()


def test_nobody_else_may_read_it_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with Store(str(tmp_path / "state")) as store:
            fill(store)
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "state").iterdir()}
    finally:
        os.umask(before)
    assert {"state.db", "state.db-wal", "lock"} <= set(modes)
    assert all(not mode & 0o027 for mode in modes.values()), modes
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) & 0o027 == 0


def test_everything_is_there_again(tmp_path: Path) -> None:
    with Store(str(tmp_path)) as store:
        stream = fill(store)
    with Store(str(tmp_path)) as store:
        job = store.job("job")
        assert store.stream(job, "TENANT", "graph_alerts") == stream
        assert store.cursor(stream, "") == Cursor("2026-11-24T08:00:00Z", 1)
        assert store.known(stream, [number_of("a"), number_of("c")]) == {number_of("a"): Known({1: True}, 1, None)}
        (batch,) = store.batches_after(job, 1, 0)
        assert (batch.size, batch.ids, batch.lines, batch.origin) == (2, ["a", "b"], b"a\nb\n", ORIGIN)
        assert store.pending(job, 1, 0) == 2
        progress = store.destination(job, "/out")
        assert (progress.intent, progress.position, progress.acked) == (batch.id, 7, 0)


def test_a_transaction_that_breaks_leaves_nothing(tmp_path: Path) -> None:
    with Store(str(tmp_path)) as store:
        stream = fill(store)
        job = store.job("job")
        progress = store.destination(job, "/out")
        with pytest.raises(KeyboardInterrupt), store.transaction():
            store.remember(stream, [Entry(5, 1, None, True)], TODAY)
            batch = store.put_batch(job, "now", ORIGIN, ["c"], b"c\n")
            store.set_cursor(stream, "", Cursor("later", 2))
            store.save_progress(job, [progress._replace(acked=batch.id)])
            raise KeyboardInterrupt
        assert store.known(stream, [5]) == {}
        assert store.pending(job, 1, 0) == 2
        assert store.cursor(stream, "") == Cursor("2026-11-24T08:00:00Z", 1)
        assert store.destination(job, "/out") == progress
        # And it goes on.
        with store.transaction():
            store.set_cursor(stream, "", Cursor("later", 2))
        assert store.cursor(stream, "") == Cursor("later", 2)


def test_each_set_of_filters_has_its_own_cursor(tmp_path: Path) -> None:
    with Store(str(tmp_path)) as store:
        stream = fill(store)
        with store.transaction():
            store.set_cursor(stream, "high", Cursor("high", 5))
        assert store.cursor(stream, "high") == Cursor("high", 5)
        assert store.cursor(stream, "") == Cursor("2026-11-24T08:00:00Z", 1)
        assert store.cursor(stream, "low") is None


def test_the_outbox_drops_what_every_destination_has(tmp_path: Path) -> None:
    with Store(str(tmp_path)) as store:
        fill(store)
        fill(store, ("c",))
        job = store.job("job")
        first, second = store.batches_after(job, 1, 0)
        one = store.destination(job, "/out")
        with store.transaction():
            store._db.execute("INSERT INTO destination (job, target, acked) VALUES (?, '/other', 0)", (job,))
        with store.transaction():
            store.save_progress(job, [one._replace(acked=second.id)])
        assert store.pending(job, 1, 0) == 3
        other = store.destination(job, "/other")
        with store.transaction():
            store.save_progress(job, [other._replace(acked=first.id)])
        assert [batch.ids for batch in store.batches_after(job, 1, 0)] == [["c"]]
        assert store.pending(job, 1, first.id) == 1


def test_two_jobs_do_not_mix(tmp_path: Path) -> None:
    with Store(str(tmp_path)) as store:
        fill(store)
        other = store.job("other")
        progress = store.destination(other, "/out")
        assert list(store.batches_after(other, 1, 0)) == []
        assert store.pending(other, 1, 0) == 0
        with store.transaction():
            store.save_progress(other, [progress._replace(acked=999)])
        assert store.pending(store.job("job"), 1, 0) == 2
        assert store.stream(other, "tenant", "graph_alerts") != store.stream(store.job("job"), "tenant", "graph_alerts")


def test_batches_are_never_numbered_twice(tmp_path: Path) -> None:
    """A batch's number is how far a destination is: used again, the second batch would be taken for the first."""
    with Store(str(tmp_path)) as store:
        fill(store)
        job = store.job("job")
        (first,) = store.batches_after(job, 1, 0)
        with store.transaction():
            store.save_progress(job, [store.destination(job, "/out")._replace(acked=first.id)])
        assert list(store.batches_after(job, 1, 0)) == []
    with Store(str(tmp_path)) as store:
        fill(store, ("c",))
        (second,) = store.batches_after(store.job("job"), 1, 0)
        assert second.id > first.id
        assert second.first_sequence == first.first_sequence + 2


def test_more_ids_than_sqlite_takes_variables(tmp_path: Path) -> None:
    with Store(str(tmp_path)) as store:
        stream = fill(store)
        with store.transaction():
            store.remember(
                stream, [Entry(number, version, None, True) for number in range(5000) for version in (2, 1)], TODAY
            )
        found = store.known(stream, range(6000))
        assert len(found) == 5000
        assert all(known == Known({1: True, 2: True}, 2, None) for known in found.values())


def test_known_gives_the_content_of_the_newest_version(tmp_path: Path) -> None:
    with Store(str(tmp_path)) as store:
        stream = fill(store)
        with store.transaction():
            store.remember(stream, [Entry(9, 3, 33, True), Entry(9, 2, 22, False), Entry(9, 4, 44, True)], TODAY)
        assert store.known(stream, [9]) == {9: Known({2: False, 3: True, 4: True}, 4, 44)}


def test_ledger_forgets_what_no_api_gives_any_more(tmp_path: Path) -> None:
    with Store(str(tmp_path)) as store:
        stream = fill(store)
        with store.transaction():
            store.remember(stream, [Entry(1, 1, None, True)], TODAY - LEDGER_DAYS - 1)
            store.remember(stream, [Entry(2, 1, None, True)], TODAY - LEDGER_DAYS)
            store.add_found(1, [5], TODAY - LEDGER_DAYS - 1)
            store.prune(stream, TODAY)
        assert set(store.known(stream, [1, 2])) == {2}
        assert not store.has_found(1)
        # Once a day is enough: it reads the whole ledger.
        with store.transaction():
            store.remember(stream, [Entry(1, 1, None, True)], TODAY - LEDGER_DAYS - 1)
            store.prune(stream, TODAY)
        assert set(store.known(stream, [1, 2])) == {1, 2}
        with store.transaction():
            store.prune(stream, TODAY + 1)
        assert set(store.known(stream, [1, 2])) == set()


# --- older schemas -------------------------------------------------------------------------------------------------

SCHEMA_1 = """
CREATE TABLE job (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE stream (
  id INTEGER PRIMARY KEY, job INTEGER NOT NULL REFERENCES job, tenant TEXT NOT NULL, api TEXT NOT NULL,
  lateness INTEGER NOT NULL DEFAULT 0, lateness_day INTEGER NOT NULL DEFAULT 0,
  UNIQUE (job, tenant, api));
CREATE TABLE cursor (
  stream INTEGER NOT NULL REFERENCES stream, filter TEXT NOT NULL, value TEXT NOT NULL, ticks INTEGER NOT NULL,
  PRIMARY KEY (stream, filter)) WITHOUT ROWID;
CREATE TABLE quarantine (
  stream INTEGER NOT NULL REFERENCES stream, filter TEXT NOT NULL, low INTEGER NOT NULL, high INTEGER NOT NULL,
  since TEXT NOT NULL, code TEXT NOT NULL, message TEXT NOT NULL, PRIMARY KEY (stream, filter, low)) WITHOUT ROWID;
CREATE TABLE ledger (
  stream INTEGER NOT NULL, id INTEGER NOT NULL, version INTEGER NOT NULL, content INTEGER, day INTEGER NOT NULL,
  PRIMARY KEY (stream, id, version)) WITHOUT ROWID;
CREATE TABLE batch (
  id INTEGER PRIMARY KEY AUTOINCREMENT, job INTEGER NOT NULL REFERENCES job, size INTEGER NOT NULL,
  received_at TEXT NOT NULL, first_sequence INTEGER NOT NULL, origin TEXT NOT NULL, ids TEXT NOT NULL,
  lines BLOB NOT NULL);
CREATE TABLE destination (
  id INTEGER PRIMARY KEY, job INTEGER NOT NULL REFERENCES job, target TEXT NOT NULL, acked INTEGER NOT NULL,
  intent INTEGER, position INTEGER, device INTEGER, inode INTEGER,
  UNIQUE (job, target));
CREATE TABLE sequence (next INTEGER NOT NULL);
INSERT INTO sequence VALUES (3);
INSERT INTO job VALUES (1, 'job');
INSERT INTO stream VALUES (1, 1, 'tenant', 'graph_alerts', 7, 20000);
INSERT INTO cursor VALUES (1, '', '2026-11-24T08:00:00Z', 1);
INSERT INTO quarantine VALUES (1, '', 4, 5, 'then', 'api.unavailable', 'why');
INSERT INTO ledger VALUES (1, 11, 1, NULL, 20000);
INSERT INTO batch VALUES (8, 1, 2, 'now', 1, '{"api": "graph_alerts"}', '["a", "b"]', x'610A620A');
INSERT INTO destination VALUES (2, 1, '/out', 7, 8, 70, 3, 4);
PRAGMA application_id=0x77646174;
PRAGMA user_version=1;
"""


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """The state directory of the first version of this collection."""
    db = sqlite3.connect(tmp_path / "state.db")
    db.executescript(SCHEMA_1)
    db.close()
    return tmp_path


def version_of(state: Path) -> int:
    db = sqlite3.connect(state / "state.db")
    try:
        return int(db.execute("PRAGMA user_version").fetchone()[0])
    finally:
        db.close()


def test_older_store_is_migrated_with_all_that_it_knows(older: Path) -> None:
    with Store(str(older)) as store:
        job = store.job("job")
        stream = store.stream(job, "tenant", "graph_alerts")
        assert store.cursor(stream, "") == Cursor("2026-11-24T08:00:00Z", 1)
        assert store.lateness(stream, 20000) == 7
        assert store.quarantined(stream, "") == [(4, 5)]
        assert store.known(stream, [11]) == {11: Known({1: True}, 1, None)}
        assert store.destination(job, "/out") == Progress(2, 7, 8, 70, 3, 4, -1, 0)
        (batch,) = store.batches_after(job, 2, 7)
        assert (batch.lines, batch.first_sequence) == (b"a\nb\n", 1)
        assert store.pieces() == store.entries() == []
    assert version_of(older) == SCHEMA


def test_migrated_store_has_the_tables_of_a_new_one(older: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    def tables(state: Path) -> dict[str, list[str]]:
        with Store(str(state)) as store:
            names = [row[0] for row in store._db.execute("SELECT name FROM sqlite_master WHERE type='table'")]
            columns = "SELECT name, type, dflt_value, pk FROM pragma_table_info(?)"
            return {name: sorted(map(str, store._db.execute(columns, (name,)))) for name in names}

    assert tables(older) == tables(tmp_path_factory.mktemp("new"))


def test_check_mode_reads_an_older_store_and_leaves_it(older: Path) -> None:
    before = listing(older)
    with Store(str(older), read_only=True) as store:
        assert store.pending(1, 2, 7) == 2
        assert store.pieces() == []
    assert listing(older) == before


def test_migration_that_breaks_leaves_the_old_store(older: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = {**schema._STEPS, 1: schema._STEPS[1].replace("CREATE TABLE part", "CREATE BROKEN part")}
    with monkeypatch.context() as patch:
        patch.setattr(schema, "_STEPS", steps)
        assert refusal(older).code == "store.failed"
    assert version_of(older) == 1
    with Store(str(older)) as store:
        assert store.pending(1, 2, 7) == 2


@given(st.text(st.characters(exclude_categories=()), max_size=30))
def test_numbers_fit_sqlite_and_are_stable(text: str) -> None:
    assert -(2**63) <= number_of(text) < 2**63
    assert number_of(text) == number_of(text.encode("utf-8", "surrogatepass"))


def test_numbers_are_the_same_on_every_machine() -> None:
    """A store may be moved: these are fixed for ever."""
    assert number_of("da637301704907268204_-1262389268") == 2838262576653761307
    assert version_number(Event(5, "a", "2026-11-24T08:00:00Z", b"")) == 5
    assert version_number(Event(-1, "a", "sha256:00", b"")) == number_of("sha256:00")


# --- what it refuses -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("read_only", [False, True])
def test_a_store_of_a_newer_version_is_refused_and_not_touched(tmp_path: Path, read_only: bool) -> None:
    with Store(str(tmp_path)) as store:
        fill(store)
        store._db.execute(f"PRAGMA user_version={SCHEMA + 1}")
    before = (tmp_path / "state.db").read_bytes()
    error = refusal(tmp_path, read_only)
    assert error.code == "store.newer"
    assert f"schema {SCHEMA + 1}" in error.message
    assert str(tmp_path / "state.db") in error.message
    assert (tmp_path / "state.db").read_bytes() == before


@pytest.mark.parametrize("read_only", [False, True])
def test_a_database_of_another_program_is_refused_and_not_touched(tmp_path: Path, read_only: bool) -> None:
    db = sqlite3.connect(str(tmp_path / "state.db"))
    db.execute("CREATE TABLE mine (x)")
    db.close()
    before = (tmp_path / "state.db").read_bytes()
    assert refusal(tmp_path, read_only).code == "store.foreign"
    assert (tmp_path / "state.db").read_bytes() == before


@pytest.mark.parametrize("garbage", [b"garbage " * 1000, b"SQLite format 3\0" + b"\xff" * 4096])
@pytest.mark.parametrize("read_only", [False, True])
def test_garbage_is_corrupt_and_not_touched(tmp_path: Path, garbage: bytes, read_only: bool) -> None:
    (tmp_path / "state.db").write_bytes(garbage)
    error = refusal(tmp_path, read_only)
    assert error.code == "store.corrupt"
    assert str(tmp_path / "state.db") in error.message
    assert "since" in error.remedy
    assert (tmp_path / "state.db").read_bytes() == garbage


def test_a_damaged_page_inside_is_corrupt(tmp_path: Path) -> None:
    with Store(str(tmp_path)) as store:
        stream = fill(store)
        with store.transaction():
            store.remember(stream, [Entry(number, 1, None, True) for number in range(20_000)], TODAY)
    path = tmp_path / "state.db"
    data = bytearray(path.read_bytes())
    size = 16384
    # All but the first page, where the schema is.
    for start in range(size, len(data), size):
        data[start : start + 64] = b"\xa5" * 64
    path.write_bytes(bytes(data))
    with pytest.raises(StoreError) as caught, Store(str(tmp_path)) as store:
        store.job("job")
        store.known(1, list(range(20_000)))
    assert caught.value.code == "store.corrupt"


# --- one run at a time ---------------------------------------------------------------------------------------------


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[int]:
    """Another process that has the store open; its id."""
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:
        store = Store(str(tmp_path))
        fill(store)
        os.write(told, b"x")
        signal.pause()
        os._exit(1)
    os.read(ready, 1)
    yield child
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(ready)
    os.close(told)


def test_a_second_run_is_refused_and_told_who_holds_the_lock(
    tmp_path: Path, holder: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_LOCK_SECONDS", 0.0)
    error = refusal(tmp_path)
    assert error.code == "store.busy"
    assert f"process {holder}," in error.message
    assert str(tmp_path / "lock") in error.message


def test_a_second_run_waits_a_little(tmp_path: Path, holder: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def wait(seconds: float) -> None:
        os.kill(holder, signal.SIGKILL)

    monkeypatch.setattr(store_module.time, "sleep", wait)
    with Store(str(tmp_path)) as store:
        assert store.pending(store.job("job"), 1, 0) == 2


def test_check_mode_looks_while_another_run_is_under_way(tmp_path: Path, holder: int) -> None:
    with Store(str(tmp_path), read_only=True) as store:
        assert store.pending(store.job("job"), 1, 0) == 2


def test_the_lock_ends_with_its_holder_and_what_it_committed_is_there(
    tmp_path: Path, holder: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.kill(holder, signal.SIGKILL)
    monkeypatch.setattr(store_module, "_LOCK_SECONDS", 2.0)
    with Store(str(tmp_path)) as store:
        assert store.pending(store.job("job"), 1, 0) == 2


def test_a_store_that_could_not_be_opened_lets_go_of_its_lock(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"garbage " * 1000)
    refusal(tmp_path)
    (tmp_path / "state.db").unlink()
    with Store(str(tmp_path)):
        pass


def test_another_program_that_holds_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store(str(tmp_path)):
        pass
    monkeypatch.setattr(store_module, "_LOCK_SECONDS", 0.05)
    db = sqlite3.connect(str(tmp_path / "state.db"), isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError) as caught, Store(str(tmp_path)) as store:
        fill(store)
    assert caught.value.code == "store.locked"
    db.close()


# --- check mode ----------------------------------------------------------------------------------------------------


def test_check_mode_makes_nothing(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with Store(str(state), read_only=True) as store:
        job = store.job("job")
        stream = store.stream(job, "tenant", "graph_alerts")
        assert (job, stream) == (-1, -1)
        assert store.cursor(stream, "") is None
        assert store.known(stream, [1]) == {}
        assert store.destination(job, "/out") == Progress(-1, 0, None, 0, 0, 0, -1, 0)
    assert not state.exists()


@pytest.mark.parametrize("is_wal", [False, True])
def test_check_mode_of_a_store_that_was_killed_while_it_was_made(tmp_path: Path, is_wal: bool) -> None:
    db = sqlite3.connect(str(tmp_path / "state.db"))
    if is_wal:
        db.execute("PRAGMA journal_mode=WAL")
    else:
        (tmp_path / "state.db").touch()
    db.close()
    before = listing(tmp_path)
    with Store(str(tmp_path), read_only=True) as store:
        assert store.pending(store.job("job"), 1, 0) == 0
    assert listing(tmp_path) == before
    # And a real run makes it.
    with Store(str(tmp_path)) as store:
        fill(store)


def look(state_dir: Path) -> None:
    with Store(str(state_dir), read_only=True) as store:
        job = store.job("job")
        stream = store.stream(job, "tenant", "graph_alerts")
        assert stream > 0
        assert store.cursor(stream, "") == Cursor("2026-11-24T08:00:00Z", 1)
        assert store.known(stream, [number_of("a")])
        assert store.pending(job, 1, 0) == 2
        assert store.stream(job, "other", "graph_alerts") == -1


def test_check_mode_sees_everything_and_leaves_no_trace(tmp_path: Path) -> None:
    with Store(str(tmp_path)) as store:
        fill(store)
    before = listing(tmp_path)
    look(tmp_path)
    assert listing(tmp_path) == before


def test_check_mode_after_a_crash_sees_what_was_committed_last(tmp_path: Path) -> None:
    """A killed run leaves a write-ahead log, in which its last commits are."""
    child = os.fork()
    if child == 0:
        store = Store(str(tmp_path))
        fill(store)
        os._exit(9)
    os.waitpid(child, 0)
    assert "state.db-wal" in listing(tmp_path)
    look(tmp_path)
    with Store(str(tmp_path)) as store:
        assert store.pending(store.job("job"), 1, 0) == 2


def as_nobody(work: Callable[[], object]) -> int:
    """The exit status of a child without root's rights."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if IS_ROOT:
                os.setgid(65534)
                os.setuid(65534)
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that a user without rights can reach; pytest's own are closed for others."""
    with tempfile.TemporaryDirectory(prefix="wdatp_store_") as name:
        path = Path(name)
        path.chmod(0o755)
        if as_nobody(path.stat) != 0:
            pytest.skip("other users can't reach the directory for temporary files")
        yield path


def test_check_mode_where_nothing_may_be_written(public: Path) -> None:
    state = public / "state"
    with Store(str(state)) as store:
        fill(store)
    for path in state.iterdir():
        path.chmod(0o444)
    state.chmod(0o555)
    before = listing(state)
    try:
        assert as_nobody(lambda: look(state)) == 0
    finally:
        state.chmod(0o755)
    assert listing(state) == before


# --- no space, no right --------------------------------------------------------------------------------------------


def test_no_space_is_told_and_what_was_committed_is_safe(tmp_path: Path) -> None:
    with Store(str(tmp_path)) as store:
        stream = fill(store)
        (pages,) = store._db.execute("PRAGMA page_count").fetchone()
        store._db.execute(f"PRAGMA max_page_count={pages + 2}")
        with pytest.raises(StoreError) as caught, store.transaction():
            store.put_batch(store.job("job"), "now", ORIGIN, ["c"], b"x" * 1_000_000)
            store.set_cursor(stream, "", Cursor("later", 2))
        assert caught.value.code == "store.full"
        assert str(tmp_path / "state.db") in caught.value.message
        assert store.cursor(stream, "") == Cursor("2026-11-24T08:00:00Z", 1)
        assert store.pending(store.job("job"), 1, 0) == 2


def test_a_file_where_the_directory_should_be(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    error = refusal(tmp_path / "state")
    assert error.code == "store.not_writable"
    assert str(tmp_path / "state") in error.message
    assert "state_dir" in error.remedy


def test_a_file_where_a_parent_should_be(tmp_path: Path) -> None:
    (tmp_path / "parent").write_text("in the way")
    error = refusal(tmp_path / "parent" / "state")
    assert error.code == "store.not_writable"
    assert str(tmp_path / "parent" / "state") in error.message


@pytest.mark.parametrize("name", ["state.db", "lock"])
def test_a_directory_where_a_file_should_be(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    error = refusal(tmp_path)
    assert error.code == "store.not_writable"
    assert str(tmp_path / name) in error.message


def test_a_directory_of_another_user(public: Path) -> None:
    state = public / "state"
    state.mkdir()
    state.chmod(0o555)

    def work() -> None:
        assert refusal(state).code == "store.not_writable"
        assert refusal(state / "deeper").code == "store.not_writable"

    assert as_nobody(work) == 0
