# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is in the way on the host itself: the state, the disk, the output, the stored credential, a wrong option.

Each message says what is wrong and where, and what to change. All cases run in one playbook; each test reads its task.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from harness import PlaybookRunner, Result
from mock_api import MockTenant, TenantConfig
from pulls import (
    CREDENTIAL,
    addresses,
    assert_delivered,
    assert_figures,
    assert_no_secret,
    assert_no_token,
    assert_no_traceback,
    defaults,
    identity,
    lines,
    pull,
    to,
    truth,
)

SECRET = "Abc8Q~right/secret+value=& 1"
HOST = "graph.microsoft.com"


class World:
    """What is in the way of each case, under the case's name."""

    def __init__(self, stack: ExitStack, directory: Path, mock: MockTenant, store: Path) -> None:
        self.directory = directory
        self.mock = mock
        # A state directory after a pull.
        self.store = store
        # Files that no case may touch: path -> content.
        self.untouched: dict[Path, bytes] = {}
        self._stack = stack

    def keep(self, path: Path, content: bytes | str) -> Path:
        """A file that has to be the same afterwards."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        self.untouched[path] = path.read_bytes()
        return path

    def state(self, name: str) -> Path:
        """A state directory in which a pull has been before."""
        return Path(shutil.copytree(self.store, self.directory / name))

    def lock(self, path: Path) -> None:
        """As another process holds it."""
        stream = self._stack.enter_context(path.open("w"))
        stream.write(f"{os.getpid()}")
        stream.flush()
        fcntl.flock(stream, fcntl.LOCK_EX)

    def database(self, path: Path) -> sqlite3.Connection:
        found = sqlite3.connect(path, isolation_level=None)
        self._stack.callback(found.close)
        return found

    def stored(self, name: str, definition: str) -> dict[str, Any]:
        """A credential's definition as somebody left it; who asks for it."""
        config = self.directory / name
        self.keep(config / "credentials" / "contoso.json", definition)
        return {"credential": "contoso", "config_dir": str(config)}


@dataclass
class Case:
    """`options` on top of those of a pull that works; None takes one away. `words` have to be in the message."""

    name: str
    code: str
    words: tuple[str, ...]
    options: Callable[[World], dict[str, Any]]


def file_as_state(world: World) -> dict[str, Any]:
    # Rights would stop no root, under whom tests may run. A file in the way stops everybody.
    return {"state_dir": str(world.keep(world.directory / "a-file", ""))}


def file_above_state(world: World) -> dict[str, Any]:
    return {"state_dir": str(world.keep(world.directory / "another-file", "") / "lib")}


def directory_as_store(world: World) -> dict[str, Any]:
    state = world.directory / "directory-as-store"
    (state / "state.db").mkdir(parents=True)
    return {"state_dir": str(state)}


def another_pull(world: World) -> dict[str, Any]:
    state = world.state("another-pull")
    world.lock(state / "lock")
    return {"state_dir": str(state)}


def open_shell(world: World) -> dict[str, Any]:
    state = world.state("open-shell")
    world.database(state / "state.db").execute("BEGIN IMMEDIATE")
    return {"state_dir": str(state)}


def no_database(world: World) -> dict[str, Any]:
    return {"state_dir": str(world.keep(world.directory / "no-database" / "state.db", "hello " * 1000).parent)}


def broken_database(world: World) -> dict[str, Any]:
    state = world.state("broken-database") / "state.db"
    content = state.read_bytes()
    # The first page stays: SQLite takes it for a database.
    world.keep(state, content[:4096] + b"\xff" * (len(content) - 4096))
    return {"state_dir": str(state.parent)}


def newer_store(world: World) -> dict[str, Any]:
    state = world.state("newer") / "state.db"
    database = world.database(state)
    database.execute("PRAGMA user_version=99")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    world.untouched[state] = state.read_bytes()
    return {"state_dir": str(state.parent)}


def foreign_database(world: World) -> dict[str, Any]:
    state = world.directory / "foreign" / "state.db"
    state.parent.mkdir()
    database = world.database(state)
    database.execute("CREATE TABLE recipes (name TEXT)")
    world.untouched[state] = state.read_bytes()
    return {"state_dir": str(state.parent)}


def directory_as_output(world: World) -> dict[str, Any]:
    path = world.directory / "directory.jsonl"
    path.mkdir()
    return {"destinations": to(path)}


def busy_output(world: World) -> dict[str, Any]:
    path = world.directory / "busy.jsonl"
    world.lock(path)
    return {"destinations": to(path)}


def option(**values: Any) -> Callable[[World], dict[str, Any]]:
    return lambda world: values


def twice(world: World) -> dict[str, Any]:
    # Two ways to write one path, and two formats.
    path = world.directory / "twice.jsonl"
    return {"destinations": [*to(path), {"path": f"{path.parent}/./{path.name}", "format": "envelope"}]}


DEFINITION = {"schema": 1, "name": "contoso", "tenant_id": "contoso.example", "client_id": "x"}
# {here} is the directory of all cases, {pid} this process.
CASES = [
    # --- the state
    Case("state is a file", "store.not_writable", ("{here}/a-file", "Set state_dir"), file_as_state),
    Case("state below a file", "store.not_writable", ("{here}/another-file", "Set state_dir"), file_above_state),
    Case(
        "store is a directory",
        "store.not_writable",
        ("{here}/directory-as-store/state.db", "Is a directory"),
        directory_as_store,
    ),
    Case(
        "another pull is running",
        "store.busy",
        ("process {pid}", "{here}/another-pull/lock", "Wait until it ends", "state_dir of its own"),
        another_pull,
    ),
    Case(
        "locked by a shell",
        "store.locked",
        ("{here}/open-shell/state.db", "another program", "sqlite3"),
        open_shell,
    ),
    Case(
        "no database",
        "store.corrupt",
        ("{here}/no-database/state.db", "corrupt", "reconcile: fill", "since"),
        no_database,
    ),
    Case(
        "broken database",
        "store.corrupt",
        ("{here}/broken-database/state.db", "reconcile: fill", "since"),
        broken_database,
    ),
    Case(
        "newer store",
        "store.newer",
        ("{here}/newer/state.db", "newer version", "schema 99", "not touched", "Upgrade"),
        newer_store,
    ),
    Case("foreign database", "store.foreign", ("{here}/foreign/state.db", "another program"), foreign_database),
    # --- the output
    Case(
        "output's directory is missing",
        "destination.no_directory",
        ("{here}/missing", "does not exist", "Create it", "nothing is lost", "Waiting in the outbox: 20"),
        lambda world: {"destinations": to(world.directory / "missing" / "events.jsonl")},
    ),
    Case(
        "output is a directory",
        "destination.not_writable",
        ("{here}/directory.jsonl", "Is a directory", "Waiting in the outbox: 20"),
        directory_as_output,
    ),
    Case(
        "output is busy",
        "destination.busy",
        ("{here}/busy.jsonl", "another pull", "a file of its own", "Waiting in the outbox: 20"),
        busy_output,
    ),
    # --- the stored credential
    Case(
        "no such credential",
        "credential.unknown",
        ("'fabrikam'", "{here}/no-such", "there are contoso"),
        lambda world: {**world.stored("no-such", json.dumps(DEFINITION)), "credential": "fabrikam"},
    ),
    Case(
        "broken credential",
        "credential.broken",
        ("{here}/broken-credential/credentials/contoso.json", "broken", "wdatp_credential"),
        lambda world: world.stored("broken-credential", "{"),
    ),
    Case(
        "broken credential, by host",
        "credential.broken",
        ("{here}/broken-by-host/credentials/contoso.json", "broken"),
        lambda world: {**world.stored("broken-by-host", "[]"), "credential": None, "host": HOST},
    ),
    Case(
        "newer credential",
        "credential.newer",
        ("{here}/newer-credential/credentials/contoso.json", "newer version", "Use that version"),
        lambda world: world.stored("newer-credential", json.dumps({**DEFINITION, "schema": 99})),
    ),
    Case(
        "credentials in a file's place",
        "credential.denied",
        ("{here}/config-file",),
        lambda world: {
            "credential": "contoso",
            "config_dir": str(world.keep(world.directory / "config-file", "") / "etc"),
        },
    ),
    # --- nonsense
    Case("overlap", "option.invalid", ("overlap: 'soon'", "15m, 4h or 30d"), option(overlap="soon")),
    Case("since", "option.invalid", ("since: 'yesterday'", "2026-11-24T08:00:00Z", "15m"), option(since="yesterday")),
    Case("since without unit", "option.invalid", ("since: '15'", "15m"), option(since="15")),
    Case("until", "option.invalid", ("until: '2026-13-01T00:00:00Z'",), option(until="2026-13-01T00:00:00Z")),
    Case("since after until", "option.invalid", ("since (1h)", "until (2h)"), option(since="1h", until="2h")),
    Case(
        "initial_lookback",
        "option.invalid",
        ("initial_lookback: '1 month'", "s, m, h, d or w"),
        option(initial_lookback="1 month"),
    ),
    Case("page_size", "option.invalid", ("page_size: 0", "at least 1"), option(page_size=0)),
    Case("max_events", "option.invalid", ("max_events: 0", "at least 1"), option(max_events=0)),
    Case("max_seconds", "option.invalid", ("max_seconds: -1", "at least 1"), option(max_seconds=-1)),
    Case("return_events", "option.invalid", ("return_events: -1", "at least 0"), option(return_events=-1)),
    Case(
        "severity",
        "option.invalid",
        ("severity", "'urgent'", "informational, low, medium, high"),
        option(severity=["urgent"]),
    ),
    Case("status", "option.invalid", ("status", "alert_exporter"), option(status=["new"], api="alert_exporter")),
    Case("destinations twice", "option.invalid", ("{here}/twice.jsonl is named twice", "a path of its own"), twice),
]
# AnsibleModule finds these itself.
CHOICES = {
    "updates": ({"updates": "some"}, "all, latest, new_only, changed, got: some"),
    "format": ({"destinations": [{"path": "/nonexistent", "format": "xml"}]}, "raw, envelope, got: xml"),
    "type": ({"destinations": [{"type": "pigeon"}]}, "file, got: pigeon"),
    "number": ({"page_size": "many"}, "page_size"),
}


@pytest.fixture(scope="module")
def mock() -> Iterator[MockTenant]:
    with MockTenant(TenantConfig(alerts=20, client_secret=SECRET)) as found:
        yield found


@pytest.fixture(scope="module")
def world(mock: MockTenant, tmp_path_factory: pytest.TempPathFactory, collections_path: str) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("world")
    store = directory / "store"
    play = defaults(store, **identity(mock))
    PlaybookRunner(directory / "before", collections_path)([pull("Before")], play=play).ok()
    with ExitStack() as stack:
        yield World(stack, directory, mock, store)


@pytest.fixture(scope="module")
def played(world: World, collections_path: str) -> Result:
    tasks = [pull(case.name, _ignore=True, **task_options(case, world)) for case in CASES]
    good = {**identity(world.mock), "state_dir": world.directory / "never"}
    tasks += [pull(name, _ignore=True, **{**good, **options}) for name, (options, _words) in CHOICES.items()]
    # Looking takes no lock.
    looking = {**good, "state_dir": world.directory / "another-pull"}
    tasks += [pull("While another pull is running", _check=True, **looking)]
    return PlaybookRunner(world.directory / "play", collections_path)(tasks, verbosity=3)


def task_options(case: Case, world: World) -> dict[str, Any]:
    own = case.options(world)
    is_stored = "config_dir" in own
    state = world.directory / "lib" / case.name.replace(" ", "-")
    common = {"state_dir": state, "initial_lookback": "2d", **(addresses if is_stored else identity)(world.mock)}
    return {name: value for name, value in {**common, **own}.items() if value is not None}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_message(case: Case, world: World, played: Result) -> None:
    task = played[case.name]
    assert task.status == "ignored", task.result
    error = task.result["error"]
    assert error["code"] == case.code, task.msg
    for word in case.words:
        assert word.format(here=world.directory, pid=os.getpid()) in task.msg
    assert error["remedy"]
    assert error["remedy"] in task.msg
    assert task.result.get("written", 0) == 0
    # Events that wait in the outbox are a change; all else leaves nothing.
    assert task.result.get("changed", False) is case.code.startswith("destination.")


@pytest.mark.parametrize("name", CHOICES)
def test_a_value_of_the_wrong_kind(name: str, played: Result) -> None:
    assert played[name].status == "ignored"
    assert CHOICES[name][1] in played[name].msg


def test_check_mode_waits_for_nobody(played: Result) -> None:
    found = played["While another pull is running"].result
    assert found["duplicates"] > 0
    assert_figures(found, new=0, changed=False)


def test_what_is_in_the_way_is_left_as_it_was(world: World, played: Result) -> None:
    assert len(played.tasks) == len(CASES) + len(CHOICES) + 1
    for path, content in world.untouched.items():
        assert path.read_bytes() == content, path
    assert not (world.directory / "never").exists()


def test_no_traceback_and_no_secret_is_shown(played: Result) -> None:
    assert_no_traceback(played)
    assert_no_secret(played, SECRET)
    assert_no_token(played)


# --- a disk that is too small -------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """small_disk("256k") mounts one; small_disk("32m") makes it larger; small_disk("32m", "ro") read-only."""
    path = tmp_path / "disk"
    path.mkdir()

    def mount(size: str, *more: str) -> Path:
        options = ",".join([f"size={size}", *more, *(["remount"] if os.path.ismount(path) else [])])
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
        return path

    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("only root may mount a small disk")
    yield mount
    with suppress(OSError):
        subprocess.run(["umount", str(path)], capture_output=True, check=False)


@pytest.fixture
def big(make_mock: Callable[..., MockTenant]) -> MockTenant:
    """More alerts than the small disks hold."""
    return make_mock(alerts=600, client_secret=SECRET)


def test_no_space_for_the_state(
    run_playbook: PlaybookRunner, big: MockTenant, small_disk: Callable[..., Path], tmp_path: Path
) -> None:
    disk = small_disk("1m")
    play = defaults(disk / "lib", **identity(big))
    options: dict[str, Any] = {"destinations": to(tmp_path / "events.jsonl"), "page_size": 100}
    full = run_playbook([pull("Full", **options)], play=play)["Full"]
    assert full.status == "failed"
    assert full.result["error"]["code"] == "store.full"
    for text in (f"{disk}/lib/state.db", "No space is left", "Free space", "what was committed is safe"):
        assert text in full.msg
    small_disk("64m")
    result = run_playbook([pull("Go on", **options), pull("Again", **options)], play=play).ok()
    assert result["Go on"].result["complete"] is True
    assert_figures(result["Again"].result, new=0, changed=False)
    # Neither lost nor twice.
    assert_delivered(tmp_path / "events.jsonl", truth(big))
    assert_no_secret(result, SECRET)


def test_no_space_for_the_output(
    run_playbook: PlaybookRunner, big: MockTenant, small_disk: Callable[..., Path], tmp_path: Path
) -> None:
    disk = small_disk("512k")
    play = defaults(tmp_path / "lib", **identity(big))
    options: dict[str, Any] = {"destinations": to(disk / "events.jsonl", tmp_path / "other.jsonl"), "page_size": 100}
    full = run_playbook([pull("Full", **options), pull("Never", **options)], play=play)
    assert full.last.name == "Full"
    assert full.last.status == "failed"
    found = full.last.result
    assert found["error"]["code"] == found["destinations"][0]["error"]["code"] == "destination.full"
    for text in (f"{disk}/events.jsonl", "No space is left", "Free space", "Waiting in the outbox", "nothing is lost"):
        assert text in full.last.msg
    assert found["pending"] == found["destinations"][0]["pending"] == 600 - found["destinations"][0]["written"]
    # The other one has all, and everything was fetched.
    assert_delivered(tmp_path / "other.jsonl", truth(big))
    assert found["complete"] is True
    # A reader has seen the first half of a line; it stays, and the other half is put behind it.
    seen = (disk / "events.jsonl").read_bytes()
    small_disk("64m")
    result = run_playbook([pull("Go on", **options), pull("Again", **options)], play=play).ok()
    assert_figures(result["Go on"].result, new=0, changed=True, pending=0)
    assert (disk / "events.jsonl").read_bytes().startswith(seen)
    assert lines(disk / "events.jsonl") == lines(tmp_path / "other.jsonl")
    assert_figures(result["Again"].result, new=0, changed=False)


def test_a_disk_that_is_read_only(
    run_playbook: PlaybookRunner, mock: MockTenant, small_disk: Callable[..., Path], tmp_path: Path
) -> None:
    disk = small_disk("8m")
    options: dict[str, Any] = {"destinations": to(tmp_path / "events.jsonl")}
    play = defaults(disk / "lib", **identity(mock))
    run_playbook([pull("Before", **options)], play=play).ok()
    small_disk("8m", "ro")
    result = run_playbook(
        [
            pull("State", **options, _ignore=True),
            pull("No state", **options, state_dir=disk / "other", _ignore=True),
            # What can be read is enough to look.
            pull("Look", **options, _check=True),
            pull("Output", state_dir=tmp_path / "lib", destinations=to(disk / "new.jsonl"), _ignore=True),
        ],
        play=play,
    ).ok()
    for name, path in (("State", disk / "lib"), ("No state", disk / "other")):
        assert result[name].result["error"]["code"] == "store.not_writable"
        assert str(path) in result[name].msg
        assert "Read-only file system" in result[name].msg
    assert result["Look"].result["duplicates"] > 0
    assert_figures(result["Look"].result, new=0, changed=False)
    assert result["Output"].result["error"]["code"] == "destination.not_writable"
    assert "Read-only file system" in result["Output"].msg
    assert_no_traceback(result)


def test_a_directory_without_rights(run_playbook: PlaybookRunner, mock: MockTenant, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    result = run_playbook(
        [
            pull("State", state_dir=closed / "lib", _ignore=True),
            pull("Output", destinations=to(closed / "events.jsonl"), _ignore=True),
        ],
        play=defaults(tmp_path / "lib", **identity(mock)),
    ).ok()
    for name, code in (("State", "store.not_writable"), ("Output", "destination.not_writable")):
        assert result[name].result["error"]["code"] == code
        assert f"{closed}" in result[name].msg
        assert "Permission denied" in result[name].msg


def test_a_stored_secret_that_is_gone(
    run_playbook: PlaybookRunner, mock: MockTenant, config_dir: Path, state_dir: Path
) -> None:
    play = defaults(state_dir, config_dir=str(config_dir))
    run_playbook([{"name": "Define", CREDENTIAL: {"name": "contoso", **identity(mock)}}], play=play).ok()
    secret = config_dir / "secrets" / "contoso.secret"
    secret.write_text("{", "utf-8")
    broken = run_playbook([pull("Pull", credential="contoso")], play=play)["Pull"]
    secret.unlink()
    gone = run_playbook([pull("Pull", credential="contoso")], play=play)["Pull"]
    for task in (broken, gone):
        assert task.status == "failed"
        assert str(secret) in task.msg
        assert "wdatp_credential" in task.msg
