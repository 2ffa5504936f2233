# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest: each run adds a line, and whatever somebody removes or changes afterwards shows."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp import manifest as manifest_module
from ansible_collections.secops.defender.plugins.module_utils._wdatp.manifest import (
    Batch,
    Checker,
    Manifest,
    piece_of,
    read_chain,
)
from ansible_collections.secops.defender.plugins.module_utils._wdatp.store import Store

ORIGIN = {"credential": None, "organization": "Contoso", "tenant_id": "t", "api": "graph_alerts"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(str(tmp_path)) as opened:
        yield opened


def lines_of(tmp_path: Path) -> list[bytes]:
    return (tmp_path / "manifest.jsonl").read_bytes().splitlines(keepends=True)


def write(store: Store, runs: int) -> None:
    for number in range(runs):
        Manifest(store).append(1, {"streams": [], "quiet": number})


def problems(store: Store, tmp_path: Path) -> list[str]:
    return read_chain(store, [str(tmp_path / "manifest.jsonl")]).problems


def put(store: Store, *names: str, job_name: str = "job") -> bytes:
    """A batch as a pull commits it."""
    job = store.job(job_name)
    store.destination(job, f"/{job_name}.jsonl")
    stream = store.stream(job, "tenant", "graph_alerts")
    lines = b"".join(b"%b\n" % name.encode() for name in names)
    with store.transaction():
        batch = store.put_batch(job, "now", ORIGIN, list(names), lines)
        store.add_piece(stream, None, (batch.id, batch.size, *piece_of(lines), names[0], names[-1]))
    return lines


# --- the chain -----------------------------------------------------------------------------------------------------


def test_each_line_names_the_one_before(store: Store, tmp_path: Path) -> None:
    write(store, 3)
    lines = lines_of(tmp_path)
    entries = [json.loads(line) for line in lines]
    assert [entry["run"] for entry in entries] == [1, 2, 3]
    assert entries[0]["previous"] is None
    assert entries[2]["previous"] == hashlib.sha256(lines[1]).hexdigest()
    assert problems(store, tmp_path) == []
    assert os.stat(tmp_path / "manifest.jsonl").st_mode & 0o027 == 0


def test_result_names_the_line_that_was_written(store: Store, tmp_path: Path) -> None:
    found = Manifest(store).append(1, {"streams": []})
    assert found == {
        "path": str(tmp_path / "manifest.jsonl"),
        "run": 1,
        "sha256": hashlib.sha256(lines_of(tmp_path)[0]).hexdigest(),
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: lines[:2] + lines[3:], ["before run 4, an entry of the manifest was changed or removed"]),
        (
            lambda lines: [lines[0], lines[1].replace(b'"quiet":1', b'"quiet":7'), *lines[2:]],
            ["before run 3, an entry of the manifest was changed or removed"],
        ),
        (lambda lines: lines[:-1], ["the manifest does not end with run 5, the last one that was written"]),
        (lambda lines: [], ["the manifest does not end with run 5, the last one that was written"]),
        (
            lambda lines: [*lines[:-1], lines[-1].replace(b'"quiet":4', b'"quiet":5')],
            ["the manifest does not end with run 5, the last one that was written"],
        ),
        (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], None),
        (lambda lines: [*lines[:2], b"what is this\n", *lines[2:]], None),
        # Rotated away from the beginning: nothing can be said of it.
        (lambda lines: lines[3:], []),
    ],
    ids=["removed", "changed", "end cut off", "emptied", "end changed", "swapped", "inserted", "begins later"],
)
def test_whatever_is_done_to_it_shows(
    store: Store, tmp_path: Path, change: Callable[[list[bytes]], list[bytes]], said: list[str] | None
) -> None:
    write(store, 5)
    path = tmp_path / "manifest.jsonl"
    path.write_bytes(b"".join(change(lines_of(tmp_path))))
    found = problems(store, tmp_path)
    assert found == said if said is not None else found


def test_chain_goes_on_in_a_new_file_after_rotation(store: Store, tmp_path: Path) -> None:
    write(store, 2)
    path = tmp_path / "manifest.jsonl"
    path.rename(tmp_path / "manifest.jsonl.1")
    write(store, 2)
    assert read_chain(store, [str(tmp_path / "manifest.jsonl.1"), str(path)]).problems == []
    assert read_chain(store, [str(path)]).problems == []
    path.unlink()
    path.with_name("manifest.jsonl.1").rename(path)
    assert problems(store, tmp_path) == ["the manifest does not end with run 4, the last one that was written"]


def test_store_keeps_only_the_newest_lines(store: Store) -> None:
    write(store, 4)
    assert [run for run, _line, _written in store.entries()] == [4]


@pytest.mark.parametrize("size", [1, 7, 40, 10_000])
def test_chain_goes_on_where_the_store_is_from_a_backup_or_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """The file knows more than the store then: runs are not numbered twice, and the chain does not break."""
    # Lines of any length are found, in however many looks.
    monkeypatch.setattr(manifest_module, "_BLOCK", size)
    with Store(str(tmp_path)) as store:
        write(store, 2)
    backup = (tmp_path / "state.db").read_bytes()
    with Store(str(tmp_path)) as store:
        write(store, 2)
    for content in (backup, None):
        (tmp_path / "state.db").unlink()
        if content:
            (tmp_path / "state.db").write_bytes(content)
        with Store(str(tmp_path)) as store:
            write(store, 1)
            assert problems(store, tmp_path) == []
    assert [json.loads(line)["run"] for line in lines_of(tmp_path)] == [1, 2, 3, 4, 5, 6]


def test_end_that_was_cut_off_is_no_backup(store: Store, tmp_path: Path) -> None:
    """The store knows more than the file: it goes on from there, and the gap shows."""
    write(store, 3)
    (tmp_path / "manifest.jsonl").write_bytes(b"".join(lines_of(tmp_path)[:-1]))
    write(store, 1)
    assert problems(store, tmp_path) == ["before run 4, an entry of the manifest was changed or removed"]


# --- crashes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("done", [0, 1, 30, -1, None])
def test_entry_is_finished_wherever_a_crash_came(store: Store, tmp_path: Path, done: int | None) -> None:
    write(store, 2)
    run, line = Manifest(store)._commit(1, {"streams": []})
    path = tmp_path / "manifest.jsonl"
    path.write_bytes(path.read_bytes() + line[:done])
    Manifest(store).settle()
    assert lines_of(tmp_path)[-1] == line
    assert len(lines_of(tmp_path)) == run == 3
    assert problems(store, tmp_path) == []


def test_what_a_killed_run_has_committed_gets_an_entry(store: Store, tmp_path: Path) -> None:
    put(store, "a", "b")
    lines = put(store, "c")
    Manifest(store).settle()
    (line,) = lines_of(tmp_path)
    entry = json.loads(line)
    assert entry["interrupted"] is True
    (stream,) = entry["streams"]
    assert (stream["written"], stream["first"], stream["last"]) == (3, "a", "c")
    assert stream["batches"][1] == [1, *piece_of(lines), None]
    Manifest(store).settle()
    assert len(lines_of(tmp_path)) == 1


def test_killed_runs_of_two_jobs_get_an_entry_each(store: Store, tmp_path: Path) -> None:
    put(store, "a")
    put(store, "b", job_name="other")
    Manifest(store).settle()
    entries = [json.loads(line) for line in lines_of(tmp_path)]
    assert [entry["destinations"] for entry in entries] == [["/job.jsonl"], ["/other.jsonl"]]
    assert [entry["streams"][0]["first"] for entry in entries] == ["a", "b"]
    assert problems(store, tmp_path) == []


def test_file_that_cannot_be_written_is_caught_up_with(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: str, line: bytes) -> None:
        raise OSError(28, "No space left on device", path)

    with monkeypatch.context() as patch:
        patch.setattr(manifest_module, "_append", full)
        for _number in range(2):
            with pytest.raises(OSError):
                write(store, 1)
    write(store, 1)
    assert [json.loads(line)["run"] for line in lines_of(tmp_path)] == [1, 2, 3]
    assert problems(store, tmp_path) == []


# --- the files it speaks of ----------------------------------------------------------------------------------------


def batches(*texts: bytes) -> list[Batch]:
    return [Batch(number + 1, text.count(b"\n"), *piece_of(text)) for number, text in enumerate(texts)]


PARTS = [b'{"a":1}\n{"a":2}\n', b'{"a":3}\n', b'{"a":4}\n{"a":5}\n{"a":6}\n']


@pytest.mark.parametrize(
    ("change", "runs"),
    [
        (lambda lines: lines, []),
        (lambda lines: lines[:1] + lines[2:], ["1 alerts"]),
        (lambda lines: lines[:2] + lines[3:], ["of run 2"]),
        (lambda lines: lines[:-1], ["of run 3", "2 alerts"]),
        (lambda lines: [*lines[:4], b'{"a":50}', lines[5]], ["of run 3", "3 alerts"]),
        (lambda lines: lines[2:], []),
        (lambda lines: lines[1:2], ["1 alerts"]),
        (lambda lines: [b'{"b":1}', *lines, b'{"b":2}'], []),
    ],
    ids=["whole", "in the first", "a whole batch", "at the end", "changed", "rotated", "all but one", "others too"],
)
def test_checker_finds_what_was_done_to_a_file(change: Callable[[list[bytes]], list[bytes]], runs: list[str]) -> None:
    checker = Checker(batches(*PARTS))
    for line in change(b"".join(PARTS).splitlines()):
        checker.feed(line)
    said = checker.problems()
    assert len(said) == len(runs)
    assert all(text.startswith(start) for text, start in zip(said, runs)), said


def test_checker_tells_batches_with_the_same_first_line_apart() -> None:
    parts = [b"x\ny\n", b"x\nz\n", b"x\nq\n"]
    checker = Checker(batches(*parts))
    for line in b"".join(parts).splitlines():
        checker.feed(line)
    assert checker.problems() == []
    checker = Checker(batches(*parts))
    for line in (b"x", b"y", b"z", b"x", b"q"):
        checker.feed(line)
    assert checker.problems()[0].startswith("of run 2")
