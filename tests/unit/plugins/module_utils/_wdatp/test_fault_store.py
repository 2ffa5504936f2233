# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host can do to a pull: disk, files, clock. Names and first sentences are the table docs/faults.md."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp import paging, pull, store, transport
from ansible_collections.secops.defender.plugins.module_utils._wdatp.destinations import file
from ansible_collections.secops.defender.plugins.module_utils._wdatp.errors import StoreError
from ansible_collections.secops.defender.plugins.module_utils._wdatp.schema import SCHEMA
from ansible_collections.secops.defender.plugins.module_utils._wdatp.times import DAY, now_ticks
from fault_job import ALL, Job
from mock_api import MockTenant

Make = Callable[..., Job]


def on_disk(path: Path) -> dict[str, bytes]:
    return {str(item): item.read_bytes() for item in sorted(path.rglob("*")) if item.is_file()}


def database(made: Job) -> sqlite3.Connection:
    return sqlite3.connect(made.state / "state.db")


# --- killed --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("api", ALL)
def test_fault_process_is_killed_in_mid_drain(nasty: MockTenant, job: Make, api: str) -> None:
    """After a kill -9 at any moment the next run goes on from the last page that was committed: no gap, no repeat.

    test_crash.py kills a pull at each boundary between two changes on the disk, and cuts the power there.
    """
    made = job(api=api, page_size=5)

    def before_request(number: int) -> None:
        if made.path.exists() and made.path.stat().st_size:
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        try:
            made.before = before_request
            made.report()
        finally:
            os._exit(1)
    _pid, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGKILL
    before = made.path.read_bytes()
    assert 0 < before.count(b"\n") < len(made.truth())
    assert made.run()["complete"]
    assert made.path.read_bytes().startswith(before)
    made.check()


# --- no space, no right --------------------------------------------------------------------------------------------


class BrokenOs:
    """The module os, one of whose functions fails from its nth call on."""

    def __init__(self, name: str, number: int, calls_before: int = 0) -> None:
        self._name = name
        self._number = number
        self._left = calls_before

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name != self._name:
            return real

        def broken(*args: Any, **named: Any) -> Any:
            self._left -= 1
            if self._left >= 0:
                return real(*args, **named)
            if self._left == -1 and name == "write":
                # A full disk takes what still fits.
                real(args[0], args[1][:100])
            raise OSError(self._number, os.strerror(self._number), args[0] if isinstance(args[0], str) else None)

        return broken


@pytest.mark.parametrize("api", ALL)
def test_fault_disk_of_the_output_file_is_full(
    nasty: MockTenant, job: Make, monkeypatch: pytest.MonkeyPatch, api: str
) -> None:
    """A write that breaks off is finished later, in the middle of its line; till then the alerts wait in the outbox."""
    made = job(api=api, page_size=8)
    with monkeypatch.context() as patch:
        patch.setattr(file, "os", BrokenOs("write", errno.ENOSPC, 1))
        result, error = made.fail()
    assert error.code == "destination.full"
    assert result["complete"]
    assert result["written"] + result["pending"] == result["new"] == len(made.truth())
    torn = made.path.read_bytes()
    assert not torn.endswith(b"\n")
    result = made.run()
    assert (result["new"], result["pending"]) == (0, 0)
    assert made.path.read_bytes().startswith(torn)
    made.check()


@pytest.mark.parametrize("api", ALL)
def test_fault_disk_of_the_store_is_full(
    nasty: MockTenant, job: Make, monkeypatch: pytest.MonkeyPatch, api: str
) -> None:
    """The run ends with `store.full`; the cursor has not passed what could not be kept, and the next run goes on."""
    made = job(api=api, page_size=8)
    made.run(max_events=3)
    with database(made) as db:
        (pages,) = db.execute("PRAGMA page_count").fetchone()
    with monkeypatch.context() as patch:
        patch.setattr(store, "_PRAGMAS", (*store._PRAGMAS, f"max_page_count={pages}"))
        with pytest.raises(StoreError) as caught:
            made.report(page_size=1000)
    assert caught.value.code == "store.full"
    assert set(made.lines) <= set(made.truth())
    assert made.run()["complete"]
    made.check()


@pytest.mark.parametrize("api", ALL)
def test_fault_file_system_is_read_only(
    nasty: MockTenant, job: Make, monkeypatch: pytest.MonkeyPatch, api: str
) -> None:
    """Of the output file, the alerts wait in the outbox; of the store, the run ends before anything is asked."""

    def read_only(path: str, flags: int, mode: int) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

    made = job(api=api, page_size=8)
    with monkeypatch.context() as patch:
        patch.setattr(file, "open_or_create", read_only)
        result, error = made.fail()
    assert error.code == "destination.not_writable"
    assert (result["written"], result["pending"]) == (0, len(made.truth()))
    nasty.clear_requests()
    with monkeypatch.context() as patch:
        patch.setattr(store, "open_or_create", read_only)
        with pytest.raises(StoreError) as caught:
            made.report()
    assert caught.value.code == "store.not_writable"
    assert nasty.requests == []
    assert made.run()["complete"]
    made.check()


@pytest.mark.parametrize("api", ALL)
def test_fault_destination_is_down(nasty: MockTenant, job: Make, tmp_path: Path, api: str) -> None:
    """One destination that is down holds up neither the pull nor the others; it gets all of it once it is back."""
    good, bad = tmp_path / "good.jsonl", tmp_path / "share" / "bad.jsonl"
    made = job(api=api, page_size=8, destinations=[{"path": str(good)}, {"path": str(bad)}])
    total = len(made.truth())
    for more in (0, 2):
        nasty.add_alerts(more)
        result, error = made.fail()
        assert error.code == "destination.no_directory"
        assert result["complete"]
        assert [item["pending"] for item in result["destinations"]] == [0, result["pending"]]
    assert set(made.truth()) <= set(good.read_bytes().splitlines())
    assert result["pending"] >= total + 1
    bad.parent.mkdir()
    assert made.run()["pending"] == 0
    assert bad.read_bytes() == good.read_bytes()


# --- two at once ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("api", ALL)
def test_fault_second_run_starts_at_the_same_moment(
    nasty: MockTenant, job: Make, monkeypatch: pytest.MonkeyPatch, api: str
) -> None:
    """One run at a time works on a store: the second waits a little, then ends with `store.busy`."""
    monkeypatch.setattr(store, "_LOCK_SECONDS", 0.0)
    made, second = job(api=api, page_size=8), job(api=api)
    refused: list[StoreError] = []

    def before(number: int) -> None:
        if number in (1, 3):
            with pytest.raises(StoreError) as caught:
                pull.pull(second.options, second.context)
            refused.append(caught.value)

    made.before = before
    assert made.run()["complete"]
    assert [error.code for error in refused] == ["store.busy", "store.busy"]
    assert str(os.getpid()) in refused[0].message
    made.check()
    assert second.run()["written"] == 0


# --- the store -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("api", ALL)
def test_fault_store_is_from_a_newer_version(nasty: MockTenant, job: Make, api: str) -> None:
    """It is refused with `store.newer` and left as it is, byte for byte; nothing is asked."""
    made = job(api=api)
    made.run()
    with database(made) as db:
        db.execute(f"PRAGMA user_version={SCHEMA + 1}")
    db.close()
    before = on_disk(made.state)
    nasty.clear_requests()
    for options in ({}, {"reconcile": "fill"}, {"reconcile": "report"}):
        with pytest.raises(StoreError) as caught:
            made.report(**options)
        assert caught.value.code == "store.newer"
    assert {name: text for name, text in on_disk(made.state).items() if "lock" not in name} == {
        name: text for name, text in before.items() if "lock" not in name
    }
    assert nasty.requests == []


@pytest.mark.parametrize("api", ALL)
def test_fault_store_is_from_an_older_version(nasty: MockTenant, job: Make, api: str) -> None:
    """It is migrated in one transaction, with cursor and ledger: the next run writes only what is new."""
    made = job(api=api)
    made.run()
    schema_1 = re.sub(r"INSERT INTO (?!sequence).*", "", Path(__file__).with_name("test_store.py").read_text("utf-8"))
    (tables,) = re.findall(r'SCHEMA_1 = """(.*?)"""', schema_1, re.DOTALL)
    path = made.state / "state.db"
    path.rename(made.state / "new.db")
    db = sqlite3.connect(path)
    db.executescript(tables + "DELETE FROM sequence;")
    db.execute("ATTACH ? AS new", (str(made.state / "new.db"),))
    names = [row[0] for row in db.execute("SELECT name FROM main.sqlite_master WHERE type='table'")]
    for name in names:
        columns = ", ".join(row[1] for row in db.execute(f"PRAGMA main.table_info({name})"))
        if name != "sqlite_sequence":
            db.execute(f"INSERT INTO main.{name} ({columns}) SELECT {columns} FROM new.{name}")
    db.commit()
    db.close()
    (made.state / "new.db").unlink()
    nasty.add_alerts(2)
    before = made.lines
    result = made.run()
    assert result["written"] == result["new"] + result["updated"] >= 1
    assert result["duplicates"] > 0 or result["cursor"]["before"] is not None
    assert made.lines[: len(before)] == before
    assert set(made.truth()) <= set(made.lines)
    assert len(set(made.lines)) == len(made.lines)


@pytest.mark.parametrize("api", ALL)
def test_fault_store_is_corrupt(nasty: MockTenant, job: Make, api: str) -> None:
    """It is refused with `store.corrupt` and kept; `reconcile: fill` makes a new one from the API and the files."""
    made = job(api=api)
    made.run()
    path = made.state / "state.db"
    content = path.read_bytes()
    path.write_bytes(content[:16384] + os.urandom(len(content) - 16384))
    broken = path.read_bytes()
    with pytest.raises(StoreError) as caught:
        made.report()
    assert caught.value.code == "store.corrupt"
    assert path.read_bytes() == broken
    nasty.add_alerts(2)
    before = made.lines
    result = made.run(reconcile="fill")
    assert broken in on_disk(made.state).values()
    assert made.lines[: len(before)] == before
    assert result["written"] == len(made.lines) - len(before) >= 1
    assert set(made.truth()) <= set(made.lines)
    assert len(set(made.lines)) == len(made.lines)


@pytest.mark.parametrize("api", ALL)
def test_fault_state_is_restored_from_an_older_backup(nasty: MockTenant, job: Make, tmp_path: Path, api: str) -> None:
    """The files are compared with the store before a pull: what they hold already is not written again."""
    path = tmp_path / "out.jsonl"
    made = job(api=api, destinations=[{"path": str(path)}])
    made.run()
    shutil.copytree(made.state, tmp_path / "backup")
    nasty.add_alerts(5)
    made.run()
    shutil.rmtree(made.state)
    shutil.copytree(tmp_path / "backup", made.state)
    nasty.add_alerts(2)
    made.run()
    lines = path.read_bytes().splitlines()
    assert set(made.truth()) <= set(lines)
    assert len(set(lines)) == len(lines)


# --- the file ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("api", ALL)
def test_fault_output_file_is_moved_away_by_somebody(nasty: MockTenant, job: Make, api: str) -> None:
    """A file that was renamed is left alone, also in mid-run: what follows goes to a new one of the name."""
    made = job(api=api, page_size=8)
    moved = made.path.with_suffix(".1")

    def before(number: int) -> None:
        if made.path.exists() and not moved.exists():
            made.path.rename(moved)

    made.before = before
    assert made.run()["complete"]
    lines = moved.read_bytes().splitlines() + made.lines
    assert sorted(lines) == sorted(made.truth())
    assert made.lines


@pytest.mark.parametrize("api", ALL)
@pytest.mark.parametrize("deed", ["truncate", "delete", "tear"])
def test_fault_output_file_is_cut_short_or_deleted_by_somebody(
    nasty: MockTenant, job: Make, api: str, deed: str
) -> None:
    """Later alerts go on a line of their own; `reconcile: report` names what is gone, and `fill` writes it again."""
    made = job(api=api)
    made.run()
    if deed == "delete":
        made.path.unlink()
    else:
        size = made.path.stat().st_size
        os.truncate(made.path, len(b"\n".join(made.lines[:5])) + 1 if deed == "truncate" else size // 2)
    nasty.add_alerts(2)
    made.run()
    whole = [line for line in made.path.read_bytes().splitlines() if line in set(made.truth())]
    assert len(set(whole)) == len(whole) < len(made.truth())
    missing = made.run(reconcile="report")["reconciled"]["missing"]
    assert missing == len(made.truth()) - len(whole)
    filled = made.run(reconcile="fill")
    assert filled["written"] == missing
    lines = made.path.read_bytes().splitlines()
    assert sorted(line for line in lines if line in set(made.truth())) == sorted(made.truth())


# --- the clock -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("api", ALL)
@pytest.mark.parametrize("days", [-30, -1, 1, 30])
def test_fault_clock_of_the_host_is_set(
    nasty: MockTenant, job: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, api: str, days: int
) -> None:
    """Windows are computed by Microsoft's clock, as its answers tell it; this host's may say what it likes."""
    made = job(api=api)
    made.run()
    for module in (pull, paging, transport):
        monkeypatch.setattr(module, "now_ticks", lambda: now_ticks() + days * DAY)
    nasty.add_alerts(2)
    # The window of a first run is computed from now, that of a later one from the cursor.
    first = job(tmp_path / "first", api=api)
    for one in (made, first):
        result = one.run()
        assert result["complete"]
        assert result["cursor"]["after"] == one.newest_time()
        assert 0 <= result["lag_seconds"] < 60
        assert set(one.truth()) <= set(one.lines)
        assert len(set(one.lines)) == len(one.lines)


@pytest.mark.parametrize("api", ["graph_alerts", "mde_alerts"])
def test_fault_clock_of_the_server_is_set_back(nasty: MockTenant, job: Make, api: str) -> None:
    """The cursor never goes back; alerts with times behind it are within the overlap, and come once."""
    made = job(api=api)
    nasty.add_alerts(1)
    after = made.run()["cursor"]["after"]
    nasty.configure(clock_skew_seconds=-1200)
    for _run in range(2):
        nasty.add_alerts(2, late_seconds=1200)
        result = made.run()
        assert (result["new"], result["cursor"]["after"]) == (2, after)
    nasty.configure(clock_skew_seconds=0)
    nasty.add_alerts(2)
    assert made.run()["new"] == 2
    made.check()
