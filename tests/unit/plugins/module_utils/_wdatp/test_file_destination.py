# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The output file: each event once, also after a torn write, and nothing taken back that a reader has seen."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp.destinations import file as file_module
from ansible_collections.secops.defender.plugins.module_utils._wdatp.destinations.file import FileDestination
from ansible_collections.secops.defender.plugins.module_utils._wdatp.errors import DestinationError
from ansible_collections.secops.defender.plugins.module_utils._wdatp.formats import Outgoing
from ansible_collections.secops.defender.plugins.module_utils._wdatp.presence import Stretch
from ansible_collections.secops.defender.plugins.module_utils._wdatp.store import Progress

FIRST = Progress(1, 0, None, 0, 0, 0, -1, 0)
OLD = b'{"id":"old"}\n'
TEXT = b'{"id":"a"}\n{"id":"b"}\n'


def batch(number: int = 1, lines: bytes = TEXT) -> Outgoing:
    count = lines.count(b"\n")
    return Outgoing(number, count, "now", 1, {}, [str(index) for index in range(count)], lines)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


@pytest.fixture
def opened() -> Iterator[Callable[[Path], FileDestination]]:
    """opened(path) -> a destination as a new run has it: the one before is closed."""
    known: list[FileDestination] = []

    def make(path: Path) -> FileDestination:
        for item in known:
            item.close()
        known.append(FileDestination(str(path)))
        return known[-1]

    yield make
    for item in known:
        item.close()


def intended(destination: FileDestination) -> Progress:
    """What the store holds when a batch is about to be written."""
    return destination.intent(FIRST, 1)


def refusal(work: Callable[[], object]) -> DestinationError:
    with pytest.raises(DestinationError) as caught:
        work()
    assert caught.value.remedy
    return caught.value


# --- writing -------------------------------------------------------------------------------------------------------


def test_a_batch_is_appended_and_acknowledged(path: Path, opened: Callable[[Path], FileDestination]) -> None:
    path.write_bytes(OLD)
    one = opened(path)
    progress = one.write(intended(one), batch())
    assert path.read_bytes() == OLD + TEXT
    assert (progress.acked, progress.intent) == (1, None)


def test_nobody_else_may_read_a_new_file(path: Path, opened: Callable[[Path], FileDestination]) -> None:
    before = os.umask(0)
    try:
        opened(path).open()
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_the_owner_and_mode_of_a_file_that_is_there_are_kept(
    path: Path, opened: Callable[[Path], FileDestination]
) -> None:
    path.touch(0o604)
    path.chmod(0o604)
    one = opened(path)
    one.write(intended(one), batch())
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


def test_a_symbolic_link_is_followed(path: Path, opened: Callable[[Path], FileDestination]) -> None:
    (path.parent / "real").write_bytes(OLD)
    path.symlink_to("real")
    one = opened(path)
    one.write(intended(one), batch())
    assert path.is_symlink()
    assert path.read_bytes() == OLD + TEXT


def test_what_is_written_is_on_the_disk_before_it_counts(
    path: Path, opened: Callable[[Path], FileDestination], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = opened(path)
    progress = intended(one)
    sizes: list[int] = []
    monkeypatch.setattr(file_module.os, "fsync", lambda handle: sizes.append(os.fstat(handle).st_size))
    one.write(progress, batch())
    assert sizes[-1:] == [len(TEXT)]


# --- after a crash -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", range(len(TEXT) + 1))
def test_a_torn_batch_is_finished_from_where_it_stands(
    path: Path, opened: Callable[[Path], FileDestination], length: int
) -> None:
    path.write_bytes(OLD)
    progress = intended(opened(path))
    with path.open("ab") as file:
        file.write(TEXT[:length])
    opened(path).write(progress, batch())
    assert path.read_bytes() == OLD + TEXT


def test_what_a_reader_has_seen_is_never_taken_back(
    path: Path, opened: Callable[[Path], FileDestination], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for a moment, either: who reads along would take a file that shrinks for another one."""
    path.write_bytes(OLD)
    progress = intended(opened(path))
    with path.open("ab") as file:
        file.write(TEXT[:5])
    sizes = [path.stat().st_size]

    class Os:
        def __getattr__(self, name: str) -> Any:
            sizes.append(path.stat().st_size)
            return getattr(os, name)

    destination = opened(path)
    monkeypatch.setattr(file_module, "os", Os())
    destination.write(progress, batch())
    monkeypatch.undo()
    assert sizes == sorted(sizes)
    assert path.read_bytes() == OLD + TEXT


def test_a_batch_larger_than_what_is_compared_at_once(
    path: Path, opened: Callable[[Path], FileDestination], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_module, "_BLOCK", 5)
    for length in range(len(TEXT) + 1):
        path.write_bytes(OLD)
        progress = intended(opened(path))
        with path.open("ab") as file:
            file.write(TEXT[:length])
        opened(path).write(progress, batch())
        assert path.read_bytes() == OLD + TEXT


def test_a_batch_that_is_there_with_lines_of_others_behind_it_is_not_written_again(
    path: Path, opened: Callable[[Path], FileDestination]
) -> None:
    progress = intended(opened(path))
    path.write_bytes(TEXT + OLD)
    opened(path).write(progress, batch())
    assert path.read_bytes() == TEXT + OLD


@pytest.mark.parametrize("length", [0, 1, 11, len(TEXT) - 1])
def test_lines_of_others_in_between_lose_nothing(
    path: Path, opened: Callable[[Path], FileDestination], length: int
) -> None:
    progress = intended(opened(path))
    seen = TEXT[:length] + OLD
    path.write_bytes(seen)
    opened(path).write(progress, batch())
    # Which bytes are whose can't be told: what is there stays, and the batch comes whole behind it.
    assert path.read_bytes() == seen + TEXT


@pytest.mark.parametrize("left", [b"", OLD[:3], OLD])
def test_a_file_that_was_cut_short_gets_the_whole_batch(
    path: Path, opened: Callable[[Path], FileDestination], left: bytes
) -> None:
    path.write_bytes(OLD * 3)
    progress = intended(opened(path))
    path.write_bytes(left)
    opened(path).write(progress, batch())
    # A line that somebody left torn is ended, so that ours stays whole.
    torn = b"\n" if left and not left.endswith(b"\n") else b""
    assert path.read_bytes() == left + torn + TEXT


def test_a_file_that_was_moved_away_gets_the_whole_batch_under_its_name(
    path: Path, opened: Callable[[Path], FileDestination]
) -> None:
    path.write_bytes(OLD)
    progress = intended(opened(path))
    path.rename(path.with_suffix(".1"))
    opened(path).write(progress, batch())
    assert path.read_bytes() == TEXT
    assert path.with_suffix(".1").read_bytes() == OLD


def test_a_restored_copy_of_the_file_is_not_taken_for_the_file(
    path: Path, opened: Callable[[Path], FileDestination]
) -> None:
    """Same name and size, another inode: what stands behind the position may be anything."""
    path.write_bytes(OLD)
    progress = intended(opened(path))
    path.rename(path.with_suffix(".1"))
    path.write_bytes(OLD + TEXT[:5])
    opened(path).write(progress, batch())
    assert path.read_bytes() == OLD + TEXT[:5] + b"\n" + TEXT


# --- rotation while a run is under way -----------------------------------------------------------------------------


def test_between_two_batches_the_path_is_followed(path: Path, opened: Callable[[Path], FileDestination]) -> None:
    one = opened(path)
    progress = one.write(intended(one), batch())
    path.rename(path.with_suffix(".1"))
    one.write(one.intent(progress, 2), batch(2, OLD))
    assert path.with_suffix(".1").read_bytes() == TEXT
    assert path.read_bytes() == OLD


def test_moved_between_intent_and_write_it_goes_to_the_moved_file(
    path: Path, opened: Callable[[Path], FileDestination]
) -> None:
    """A reader finishes the moved file before the next: as long as it has a name, what goes there is read."""
    one = opened(path)
    progress = intended(one)
    path.rename(path.with_suffix(".1"))
    one.write(progress, batch())
    assert path.with_suffix(".1").read_bytes() == TEXT
    assert not path.exists()


def test_deleted_between_intent_and_write_it_is_written_anew(
    path: Path, opened: Callable[[Path], FileDestination]
) -> None:
    one = opened(path)
    progress = intended(one)
    path.unlink()
    one.write(progress, batch())
    assert path.read_bytes() == TEXT


def test_cut_short_between_two_batches(path: Path, opened: Callable[[Path], FileDestination]) -> None:
    """logrotate's copytruncate."""
    one = opened(path)
    progress = one.write(intended(one), batch())
    os.truncate(path, 0)
    one.write(one.intent(progress, 2), batch(2, OLD))
    assert path.read_bytes() == OLD


# --- errors --------------------------------------------------------------------------------------------------------


def test_a_file_that_another_pull_writes_is_busy(path: Path, opened: Callable[[Path], FileDestination]) -> None:
    with path.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        error = refusal(opened(path).open)
        assert error.code == "destination.busy"
        assert str(path) in error.message
    # And free again.
    opened(path).open()


def test_a_missing_directory(path: Path, opened: Callable[[Path], FileDestination]) -> None:
    error = refusal(opened(path.parent / "missing" / "events.jsonl").open)
    assert error.code == "destination.no_directory"
    assert str(path.parent / "missing") in error.message


def test_a_file_in_place_of_the_directory(path: Path, opened: Callable[[Path], FileDestination]) -> None:
    path.touch()
    error = refusal(opened(path / "events.jsonl").open)
    assert error.code == "destination.no_directory"


def test_a_directory_in_place_of_the_file(path: Path, opened: Callable[[Path], FileDestination]) -> None:
    path.mkdir()
    error = refusal(opened(path).open)
    assert error.code == "destination.not_writable"
    assert str(path) in error.message


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/dev/full is Linux's")
def test_no_space_at_all(opened: Callable[[Path], FileDestination]) -> None:
    one = opened(Path("/dev/full"))
    progress = intended(one)
    assert refusal(lambda: one.write(progress, batch())).code == "destination.full"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("part", [0, 1, 11, len(TEXT) - 1])
def test_an_error_after_a_part_is_finished_later(
    path: Path,
    opened: Callable[[Path], FileDestination],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    part: int,
) -> None:
    path.write_bytes(OLD)
    one = opened(path)
    progress = intended(one)
    real = os.write
    calls = [part]

    def write(handle: int, text: memoryview) -> int:
        if calls and calls[0]:
            return real(handle, text[: calls.pop()])
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(file_module.os, "write", write)
        error = refusal(lambda: one.write(progress, batch()))
    assert error.code == ("destination.not_writable" if number == errno.EIO else "destination.full")
    assert path.read_bytes() == OLD + TEXT[:part]
    opened(path).write(progress, batch())
    assert path.read_bytes() == OLD + TEXT


def test_an_error_of_fsync_does_not_count_as_written(
    path: Path, opened: Callable[[Path], FileDestination], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = opened(path)
    progress = intended(one)

    def fsync(handle: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(file_module.os, "fsync", fsync)
        refusal(lambda: one.write(progress, batch()))
    opened(path).write(progress, batch())
    assert path.read_bytes() == TEXT


# --- what the store has not written ----------------------------------------------------------------------------------


def test_nothing_is_strange_after_a_write(path: Path, opened: Callable[[Path], FileDestination]) -> None:
    file = opened(path)
    progress = file.write(intended(file), batch())
    assert file.strange(progress, 0) == (progress, [])


def test_a_copy_that_rotation_made_is_read_once(path: Path, opened: Callable[[Path], FileDestination]) -> None:
    """copytruncate: the copy has another inode and a later time, though all of it is known."""
    file = opened(path)
    progress = file.write(intended(file), batch())
    copy = path.with_name(path.name + ".1")
    copy.write_bytes(path.read_bytes())
    os.truncate(path, 0)
    progress, stretches = file.strange(progress, 0)
    assert stretches == [Stretch(str(copy), 0)]
    assert file.strange(progress, 0) == (progress, [])


def test_a_file_that_was_moved_is_known(path: Path, opened: Callable[[Path], FileDestination]) -> None:
    file = opened(path)
    progress = file.write(intended(file), batch())
    moved = path.rename(path.with_name(path.name + ".1"))
    assert file.strange(progress, 0) == (progress, [])
    # A run that this store does not know of wrote on.
    with moved.open("ab") as stream:
        stream.write(OLD)
    assert file.strange(progress, 0)[1] == [Stretch(str(moved), len(TEXT))]
