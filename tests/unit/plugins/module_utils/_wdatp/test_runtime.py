# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of the runtime directory: private, shared under a lock, and never in the way."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp import runtime as runtime_module
from ansible_collections.secops.defender.plugins.module_utils._wdatp.config import Connection, resolve_one
from ansible_collections.secops.defender.plugins.module_utils._wdatp.runtime import (
    Content,
    Runtime,
    default_directories,
    runtime_of,
)


@pytest.fixture
def connection(tmp_path: Path) -> Connection:
    return connect(tmp_path)


def connect(etc: Path, **options: str) -> Connection:
    known = {
        "tenant_id": "11111111-0000-0000-0000-000000000000",
        "client_id": "22222222-0000-0000-0000-00000000000a",
        "client_secret": "any-secret-at-all",
        "config_dir": str(etc),
    }
    return resolve_one({**known, **options}, {})


def count(content: Content) -> int:
    """One more than last time."""
    content["count"] = content.get("count", 0) + 1
    return int(content["count"])


def test_what_one_notes_the_next_one_knows(runtime_dir: Path, connection: Connection) -> None:
    for number in (1, 2, 3):
        assert Runtime([str(runtime_dir)]).notebook(connection).update(count, creates=True) == number
    (path,) = runtime_dir.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert connection.identity.client_id not in path.name


def test_a_file_is_only_made_where_there_is_something_to_note(runtime_dir: Path, connection: Connection) -> None:
    notebook = Runtime([str(runtime_dir)]).notebook(connection)
    assert [notebook.update(count), notebook.update(count)] == [1, 1]
    assert list(runtime_dir.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "is_same"),
    [
        ({"client_secret": "another-secret"}, True),
        ({"api": "mde_alerts"}, True),
        ({"tenant_id": "11111111-0000-0000-0000-000000000001"}, False),
        ({"client_id": "22222222-0000-0000-0000-00000000000A"}, True),
        ({"client_id": "22222222-0000-0000-0000-00000000000b"}, False),
        ({"authority_url": "https://login.example"}, False),
    ],
)
def test_a_file_is_for_an_app_in_a_tenant(
    runtime_dir: Path, tmp_path: Path, connection: Connection, options: dict[str, str], is_same: bool
) -> None:
    runtime = Runtime([str(runtime_dir)])
    runtime.notebook(connection).update(count, creates=True)
    assert runtime.notebook(connect(tmp_path, **options)).update(count) == (2 if is_same else 1)


def test_an_unchanged_file_is_not_written(runtime_dir: Path, connection: Connection) -> None:
    notebook = Runtime([str(runtime_dir)]).notebook(connection)
    notebook.update(count, creates=True)
    (path,) = runtime_dir.iterdir()
    os.utime(path, (0, 0))
    assert notebook.update(dict) == {"count": 1}
    assert path.stat().st_mtime == 0


@pytest.mark.parametrize(
    "text",
    [b"", b"1", b"1 5.0\n{", b'1 x\n{"count": 7}', b'2 5.0\n{"count": 7}', b"\xff\xfe\x00", b'1 1e99\n{"count": 7}'],
)
def test_what_is_torn_foreign_or_from_before_a_reboot_counts_as_empty(
    runtime_dir: Path, connection: Connection, text: bytes
) -> None:
    notebook = Runtime([str(runtime_dir)]).notebook(connection)
    notebook.update(count, creates=True)
    (path,) = runtime_dir.iterdir()
    path.write_bytes(text)
    assert [notebook.update(count), notebook.update(count)] == [1, 2]


def test_the_wall_clock_does_not_count(
    runtime_dir: Path, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = Runtime([str(runtime_dir)]).notebook(connection)
    notebook.update(count, creates=True)
    monkeypatch.setattr("time.time", lambda: 0.0)
    assert notebook.update(count) == 2


# --- what can't be used ----------------------------------------------------------------------------------------------


def _link(path: Path) -> None:
    (path.parent / "elsewhere").mkdir(mode=0o700)
    path.symlink_to(path.parent / "elsewhere")


def _dangling(path: Path) -> None:
    path.symlink_to(path.parent / "nowhere")


def _open_to_all(path: Path) -> None:
    path.mkdir()
    path.chmod(0o777)


@pytest.mark.parametrize("spoil", [_link, _dangling, _open_to_all, Path.touch])
def test_a_directory_that_is_not_ours_alone_is_refused(
    tmp_path: Path, connection: Connection, spoil: Callable[[Path], None]
) -> None:
    path, said = tmp_path / "wdatp", []
    spoil(path)
    runtime = Runtime([str(path)], said.append)
    # Within the run, its own memory does.
    assert [runtime.notebook(connection).update(count) for _number in range(3)] == [1, 2, 3]
    assert len(said) == 1
    assert str(path) in said[0]
    assert "runtime_dir" in said[0]


def test_a_directory_of_another_user_is_refused(
    tmp_path: Path, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr("os.geteuid", lambda: 4711)
    assert Runtime([str(tmp_path)], said.append).notebook(connection).update(count, creates=True) == 1
    assert "another user" in said[0]


def test_a_link_in_place_of_a_file_is_not_followed(tmp_path: Path, runtime_dir: Path, connection: Connection) -> None:
    said: list[str] = []
    runtime = Runtime([str(runtime_dir)], said.append)
    runtime.notebook(connection).update(count, creates=True)
    (path,) = runtime_dir.iterdir()
    path.unlink()
    path.symlink_to(tmp_path / "target")
    assert runtime.notebook(connection).update(count, creates=True) == 1
    assert not (tmp_path / "target").exists()
    assert len(said) == 1


def test_the_next_directory_is_taken_in_silence(tmp_path: Path, connection: Connection) -> None:
    said: list[str] = []
    (tmp_path / "file").touch()
    Runtime([str(tmp_path / "file"), str(tmp_path / "good")], said.append).notebook(connection).update(count, True)
    assert len(list((tmp_path / "good").iterdir())) == 1
    assert (tmp_path / "good").stat().st_mode & 0o777 == 0o700
    assert said == []


def test_a_directory_that_goes_away_is_said_once(runtime_dir: Path, connection: Connection) -> None:
    said: list[str] = []
    runtime = Runtime([str(runtime_dir)], said.append)
    runtime.notebook(connection).update(count, creates=True)
    for path in runtime_dir.iterdir():
        path.unlink()
    runtime_dir.rmdir()
    assert [runtime.notebook(connection).update(count, creates=True) for _number in range(2)] == [1, 2]
    assert len(said) == 1


def test_a_lock_that_is_never_given_back_stops_nobody(
    runtime_dir: Path, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    runtime = Runtime([str(runtime_dir)], said.append)
    runtime.notebook(connection).update(count, creates=True)
    (path,) = runtime_dir.iterdir()
    monkeypatch.setattr(runtime_module, "_LOCK_SECONDS", 0.05)
    with path.open() as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert runtime.notebook(connection).update(count) == 1
    assert "locked" in said[0]


# --- which directory -------------------------------------------------------------------------------------------------


def test_the_option_comes_before_the_environment(
    tmp_path: Path, runtime_dir: Path, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def used(**options: str) -> str | None:
        return runtime_of(options, lambda text: None).path("")

    assert used(runtime_dir=str(tmp_path / "given")) == str(tmp_path / "given") + "/"
    assert used() == f"{runtime_dir}/"
    monkeypatch.delenv("WDATP_RUNTIME_DIR")
    monkeypatch.setattr(runtime_module, "default_directories", lambda: [str(tmp_path / "default")])
    assert used() == str(tmp_path / "default") + "/"


def test_default_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/t")
    monkeypatch.setattr(runtime_module, "_SYSTEM_DIRECTORY", str(tmp_path / "run" / "wdatp"))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    assert default_directories() == ["/t/wdatp-0"]
    (tmp_path / "run").mkdir()
    assert default_directories() == [str(tmp_path / "run" / "wdatp"), "/t/wdatp-0"]
    monkeypatch.setattr("os.geteuid", lambda: 7)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/x")
    assert default_directories() == ["/x/wdatp", "/t/wdatp-7"]
    (tmp_path / "run" / "wdatp").mkdir()
    assert default_directories() == [str(tmp_path / "run" / "wdatp"), "/x/wdatp", "/t/wdatp-7"]
