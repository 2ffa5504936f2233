# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pull that is killed: at every boundary between two things that it does to the disk, enumerated, not sampled.

Boundaries are before each change of the output file, its directory, the lock and the store (each statement of SQLite
that is no question, each commit), and in the middle of each write. The pull runs in a child process that ends there
without a goodbye. What the parent then finds in the file is what a reader has seen. Inside a commit SQLite answers for
itself; how that goes is its own tests' matter.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp import auth, files, manifest, store
from ansible_collections.secops.defender.plugins.module_utils._wdatp.destinations import file
from ansible_collections.secops.defender.plugins.module_utils._wdatp.pull import Context, pull
from collecting import Collector
from mock_api import MockTenant, TenantConfig

KILLED, SURVIVED = 9, 0
# Seconds; a pull takes less than one.
PATIENCE = 20.0
DATA: dict[str, Any] = {"alerts": 50, "span": "20h", "recent_share": 0.0}
# More than this, and the pull does not come to its end.
ENDLESS = 2000


@pytest.fixture(scope="module")
def running_tenant() -> Iterator[MockTenant]:
    with MockTenant(TenantConfig(**DATA)) as tenant:
        yield tenant


@pytest.fixture
def tenant(tenant: MockTenant, monkeypatch: pytest.MonkeyPatch) -> MockTenant:
    """With one token for all the pulls of a test: how it is come by is not what is tested here."""
    tenant.configure(**DATA)
    known: list[auth.Token] = []
    real = auth.Authenticator.token

    def token(self: auth.Authenticator) -> auth.Token:
        if not known:
            known.append(real(self))
        return known[0]

    monkeypatch.setattr(auth.Authenticator, "token", token)
    return tenant


# --- how a pull is killed ------------------------------------------------------------------------------------------


# What a power cut leaves of these is SQLite's business.
STORES_OWN = ("lock", "state.db")


class Boundaries:
    """Counts them, and ends the process at the one that is meant."""

    def __init__(self, last: int) -> None:
        self.last = last
        self.count = 0
        # How much of each output file is safe from a power cut; None: not even its name.
        self.synced: dict[str, int | None] = {}
        self.is_power_cut = False

    def cross(self, last_deed: Callable[[], object] = lambda: None) -> None:
        self.count += 1
        if self.count == self.last:
            last_deed()
            if self.is_power_cut:
                self._cut_power()
            os._exit(KILLED)

    def _cut_power(self) -> None:
        """What was not brought down to the disk is gone."""
        for path, size in self.synced.items():
            if size is None:
                os.unlink(path)
            else:
                os.truncate(path, size)


class WatchedOs:
    """The module os as the store sees it: each change is a boundary."""

    watched = ("open", "close", "makedirs", "ftruncate", "pwrite", "write", "fsync")

    def __init__(self, boundaries: Boundaries) -> None:
        self.boundaries = boundaries

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in self.watched:
            return real

        def watched(*args: Any, **named: Any) -> Any:
            self.boundaries.cross()
            return real(*args, **named)

        return watched


class WatchedFileOs(WatchedOs):
    """As the output file sees it: also torn writes, and what is safe from a power cut."""

    def open(self, path: str, flags: int, *mode: int) -> int:
        self.boundaries.cross()
        is_new = flags & os.O_CREAT and not os.path.exists(path)
        handle = os.open(path, flags, *mode)
        if os.path.basename(path) in STORES_OWN:
            return handle
        if is_new:
            self.boundaries.synced[path] = None
        elif flags & os.O_CREAT:
            self.boundaries.synced.setdefault(path, os.fstat(handle).st_size)
        return handle

    def write(self, handle: int, text: memoryview) -> int:
        self.boundaries.cross()
        for part in (1, len(text) // 2, len(text) - 1):
            self.boundaries.cross(lambda part=part: os.write(handle, text[:part]))  # type: ignore[misc]
        return os.write(handle, text)

    def fsync(self, handle: int) -> None:
        self.boundaries.cross()
        os.fsync(handle)
        path = os.readlink(f"/proc/self/fd/{handle}")
        synced = self.boundaries.synced
        if os.path.isdir(path):
            for name in [name for name, size in synced.items() if size is None and os.path.dirname(name) == path]:
                synced[name] = 0
        elif synced.get(path) is not None:
            synced[path] = os.fstat(handle).st_size


def watched_sqlite(boundaries: Boundaries) -> Any:
    """The module sqlite3 with connections whose changes are boundaries."""

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            if not sql.startswith("SELECT"):
                boundaries.cross()
            return super().execute(sql, *values)

        def executemany(self, sql: str, *values: Any) -> sqlite3.Cursor:
            boundaries.cross()
            return super().executemany(sql, *values)

        def executescript(self, sql: str) -> sqlite3.Cursor:
            boundaries.cross()
            return super().executescript(sql)

        def close(self) -> None:
            boundaries.cross()
            super().close()

    class Module:
        def __getattr__(self, name: str) -> Any:
            return getattr(sqlite3, name)

        def connect(self, *args: Any, **named: Any) -> sqlite3.Connection:
            boundaries.cross()
            return sqlite3.connect(*args, factory=Connection, **named)

    return Module()


def killed_pull(options: dict[str, Any], last: int, is_power_cut: bool) -> bool:
    """Runs a pull in a child that ends at the boundary; False where it came to its end before."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            boundaries = Boundaries(last)
            boundaries.is_power_cut = is_power_cut
            file.os = WatchedFileOs(boundaries)  # type: ignore[assignment]
            files.os = WatchedFileOs(boundaries)  # type: ignore[assignment]
            manifest.os = WatchedFileOs(boundaries)  # type: ignore[assignment]
            store.os = WatchedOs(boundaries)  # type: ignore[assignment]
            store.sqlite3 = watched_sqlite(boundaries)
            pull(options, Context())
            status = SURVIVED
        finally:
            os._exit(status)
    code = _end_of(child)
    assert code in (KILLED, SURVIVED, -signal.SIGKILL)
    return code != SURVIVED


def _end_of(child: int) -> int:
    """Its exit code. The fork of a process that has threads may hang in a lock that one of them held (fork(2)), once in
    some thousand times: it is killed there, which is a death like any other."""
    until = time.monotonic() + PATIENCE
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
            until += PATIENCE
        time.sleep(0.001)


# --- what must be true ---------------------------------------------------------------------------------------------


def options_of(tenant: MockTenant, state: Path, api: str, **more: Any) -> dict[str, Any]:
    patience = {"timeout": 10, "retries": 2}
    return {**tenant.options, **patience, "api": api, "page_size": 20, "state_dir": str(state), **more}


def lines_of(path: Path) -> list[bytes]:
    text = path.read_bytes()
    assert text.endswith(b"\n")
    return text.splitlines()


def kill_everywhere(
    tmp_path: Path,
    prepare: Callable[[Path], None],
    options: Callable[[Path], dict[str, Any]],
    files: Callable[[Path], list[Path]],
    expected: Counter[bytes],
    is_power_cut: bool = False,
    state: str = "state",
) -> int:
    """How many boundaries there were. After each: one ordinary run, and everything is there, once.

    `state`: where the store is, below the place.
    """
    # The store knows files by their paths, so everything happens in one place.
    start, place = tmp_path / "start", tmp_path / "place"
    place.mkdir()
    prepare(place)
    place.rename(start)
    for last in range(1, ENDLESS):
        shutil.copytree(start, place)
        was_killed = killed_pull(options(place), last, is_power_cut)
        seen = [path.read_bytes() if path.exists() else b"" for path in files(place)]
        report = pull(options(place), Context())
        assert report.failure() is None
        assert report.pending == 0
        for path, before in zip(files(place), seen):
            assert Counter(lines_of(path)) == expected, f"boundary {last}"
            assert is_power_cut or path.read_bytes().startswith(before), f"boundary {last}"
        # And nothing is left to do.
        with store.Store(str(place / state)) as left:
            assert left._db.execute("SELECT count(*) FROM batch").fetchone() == (0,)
            assert left.pieces() == []
        check_manifest(place / state, options(place), f"boundary {last}")
        shutil.rmtree(place)
        if not was_killed:
            return last - 1
    raise AssertionError("the pull does not come to its end")


def check_manifest(state: Path, options: dict[str, Any], where: str) -> None:
    """Its chain holds, and it names every event that was written, once."""
    found = pull({**options, "reconcile": "report", "since": "2d"}, Context()).to_dict()
    assert found["manifest"]["problems"] == [], where
    assert found["reconciled"]["missing"] == 0, where
    entries = [json.loads(line) for line in (state / manifest.NAME).read_bytes().splitlines()]
    written = sum(stream["written"] for entry in entries for stream in entry["streams"])
    with store.Store(str(state), read_only=True) as left:
        assert written == left._db.execute("SELECT count(*) FROM ledger").fetchone()[0], where


@pytest.mark.parametrize(
    ("api", "is_power_cut"),
    [("graph_alerts", False), ("mde_alerts", False), ("graph_alerts", True)],
    ids=["graph killed", "mde killed", "graph power cut"],
)
def test_first_pull(tenant: MockTenant, tmp_path: Path, api: str, is_power_cut: bool) -> None:
    def options(place: Path) -> dict[str, Any]:
        return options_of(tenant, place / "state", api)

    pull(options(tmp_path), Context())
    expected = Counter(raw for _id, _time, raw in tenant.alerts(api))
    assert Counter(lines_of(tmp_path / "state" / "events.jsonl")) == expected
    count = kill_everywhere(
        tmp_path,
        lambda place: None,
        options,
        lambda place: [place / "state" / "events.jsonl"],
        expected,
        is_power_cut,
    )
    print(f"{api}, {'power cut' if is_power_cut else 'killed'}: at each of {count} boundaries")
    # Three batches, each with a transaction and a write: less would mean that the watching has come loose.
    assert count > 60


def test_later_pull_with_updated_alerts(tenant: MockTenant, tmp_path: Path) -> None:
    def options(place: Path) -> dict[str, Any]:
        return options_of(tenant, place / "state", "graph_alerts")

    expected = Counter(raw for _id, _time, raw in tenant.alerts("graph_alerts"))

    def prepare(place: Path) -> None:
        pull(options(place), Context())
        tenant.update_alerts(3)
        tenant.add_alerts(4)
        nonlocal expected
        expected |= Counter(raw for _id, _time, raw in tenant.alerts("graph_alerts"))

    count = kill_everywhere(tmp_path, prepare, options, lambda place: [place / "state" / "events.jsonl"], expected)
    print(f"a later pull: killed at each of {count} boundaries")
    assert count > 30


def test_catching_up_of_a_second_file(tenant: MockTenant, tmp_path: Path) -> None:
    """One file has everything, the other nothing yet: what is left in the outbox is written, in order."""

    def files(place: Path) -> list[Path]:
        return [place / "one.jsonl", place / "late" / "two.jsonl"]

    def options(place: Path) -> dict[str, Any]:
        destinations = [{"path": str(path)} for path in files(place)]
        return options_of(tenant, place / "state", "graph_alerts", destinations=destinations)

    def prepare(place: Path) -> None:
        assert pull(options(place), Context()).pending == DATA["alerts"]
        (place / "late").mkdir()

    expected = Counter(raw for _id, _time, raw in tenant.alerts("graph_alerts"))
    count = kill_everywhere(tmp_path, prepare, options, files, expected)
    print(f"catching up: killed at each of {count} boundaries")
    assert count > 30


def test_job_with_tenants_that_are_pulled_at_the_same_time(clean_environment: None, tmp_path: Path) -> None:
    """In another order each time."""
    with MockTenant(TenantConfig(tenants=3, **{**DATA, "alerts": 25})) as customers:

        def options(place: Path) -> dict[str, Any]:
            return {"job": "default", "config_dir": str(place / "etc"), "state_dir": str(place / "var")}

        def prepare(place: Path) -> None:
            collector = Collector(customers, place)
            collector.credential()
            collector.define(page_size=10)

        prepare(tmp_path)
        pull(options(tmp_path), Context())
        expected = Counter(lines_of(tmp_path / "var" / "events.jsonl"))
        assert (len(expected), set(expected.values())) == (75, {1})
        count = kill_everywhere(
            tmp_path,
            prepare,
            options,
            lambda place: [place / "var" / "events.jsonl"],
            expected,
            state="var/jobs/default",
        )
    print(f"a job with three tenants: killed at each of {count} boundaries")
    assert count > 60
