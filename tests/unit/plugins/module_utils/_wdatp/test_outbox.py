# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The outbox: events wait for a destination in error, and reach it later, in order, each once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp.destinations import file as file_module
from ansible_collections.secops.defender.plugins.module_utils._wdatp.destinations.file import FileDestination
from ansible_collections.secops.defender.plugins.module_utils._wdatp.formats import Outgoing
from ansible_collections.secops.defender.plugins.module_utils._wdatp.outbox import Outbox
from ansible_collections.secops.defender.plugins.module_utils._wdatp.store import Store

ORIGIN = {"credential": None, "organization": "Contoso", "tenant_id": "t", "api": "graph_alerts"}


class Run:
    """One run of a job: the steps of a batch as the pull takes them."""

    def __init__(self, state: Path, paths: list[Path], text_format: str = "raw", job: str = "job") -> None:
        self.store = Store(str(state))
        self.job = self.store.job(job)
        self.outbox = Outbox(self.store, self.job, [FileDestination(str(path), text_format) for path in paths])

    def commit(self, *ids: str) -> Outgoing:
        lines = b"".join(b'{"id":"%b"}\n' % name.encode() for name in ids)
        with self.store.transaction():
            batch = self.store.put_batch(self.job, "now", ORIGIN, list(ids), lines)
            self.outbox.intend(batch.id)
        return batch

    def put(self, *ids: str) -> Outgoing:
        batch = self.commit(*ids)
        self.outbox.deliver(batch)
        return batch

    def end(self) -> None:
        self.outbox.flush()
        self.stop()

    def stop(self) -> None:
        """As if it were killed: nothing more is noted."""
        self.outbox.close()
        self.store.close()


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """run(path, …) -> a run of the job with these output files; the run before it has stopped."""
    known: list[Run] = []

    def make(*paths: Path, text_format: str = "raw", job: str = "job") -> Run:
        if known:
            known[-1].stop()
        known.append(Run(tmp_path / "state", list(paths), text_format, job))
        return known[-1]

    yield make
    known[-1].stop()


def ids_in(path: Path) -> str:
    return "".join(json.loads(line)["id"] for line in path.read_bytes().splitlines())


def left(run: Run) -> int:
    (count,) = run.store._db.execute("SELECT count(*) FROM batch").fetchone()
    return int(count)


def test_a_batch_is_written_and_leaves_the_outbox(tmp_path: Path, run: Callable[..., Run]) -> None:
    one = run(tmp_path / "a")
    batch = one.put("1", "2")
    assert ids_in(tmp_path / "a") == "12"
    assert one.outbox.has_all(batch.id)
    assert one.outbox.pending() == 0
    one.outbox.flush()
    assert left(one) == 0


def test_nothing_is_written_before_it_is_committed(tmp_path: Path, run: Callable[..., Run]) -> None:
    one = run(tmp_path / "a")
    one.commit("1")
    assert (tmp_path / "a").read_bytes() == b""
    assert one.outbox.pending() == 1


@pytest.mark.parametrize("length", range(12))
def test_a_run_that_was_killed_while_it_wrote_is_finished_by_the_next(
    tmp_path: Path, run: Callable[..., Run], length: int
) -> None:
    one = run(tmp_path / "a")
    one.put("1")
    batch = one.commit("2")
    with (tmp_path / "a").open("ab") as file:
        file.write(batch.lines[:length])
    two = run(tmp_path / "a")
    two.outbox.catch_up()
    two.put("3")
    assert ids_in(tmp_path / "a") == "123"
    two.outbox.flush()
    assert left(two) == 0


def test_written_but_not_noted_is_not_written_again(tmp_path: Path, run: Callable[..., Run]) -> None:
    run(tmp_path / "a").put("1")
    two = run(tmp_path / "a")
    two.outbox.catch_up()
    assert ids_in(tmp_path / "a") == "1"
    assert two.outbox.pending() == 0


def test_a_destination_in_error_holds_up_no_other(tmp_path: Path, run: Callable[..., Run]) -> None:
    missing = tmp_path / "missing" / "b"
    one = run(tmp_path / "a", missing)
    one.put("1", "2")
    batch = one.put("3")
    assert ids_in(tmp_path / "a") == "123"
    assert not one.outbox.has_all(batch.id)
    assert one.outbox.pending() == 3
    first, second = one.outbox.to_list()
    assert (first["written"], first["pending"], first["error"]) == (3, 0, None)
    assert (second["written"], second["pending"]) == (0, 3)
    assert second["error"]["code"] == "destination.no_directory"
    assert second["target"] == str(missing)
    one.end()
    assert left(run(tmp_path / "a", missing)) == 2


def test_the_next_run_catches_up_in_order(tmp_path: Path, run: Callable[..., Run]) -> None:
    late = tmp_path / "late" / "b"
    one = run(tmp_path / "a", late)
    one.put("1")
    one.put("2", "3")
    one.outbox.flush()
    late.parent.mkdir()
    two = run(tmp_path / "a", late)
    two.outbox.catch_up()
    two.put("4")
    assert ids_in(late) == ids_in(tmp_path / "a") == "1234"
    assert [item.written for item in two.outbox.deliveries] == [1, 4]
    two.outbox.flush()
    assert left(two) == 0


def test_a_run_without_new_events_catches_up_too(tmp_path: Path, run: Callable[..., Run]) -> None:
    late = tmp_path / "late" / "b"
    run(late).put("1")
    late.parent.mkdir()
    two = run(late)
    two.outbox.catch_up()
    assert ids_in(late) == "1"
    assert two.outbox.pending() == 0


def test_an_error_in_the_middle_of_catching_up_keeps_the_rest(
    tmp_path: Path, run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    late = tmp_path / "late" / "b"
    one = run(late)
    for name in "1234":
        one.put(name)
    late.parent.mkdir()
    real, count = os.write, [0]

    def write(handle: int, text: bytes) -> int:
        count[0] += 1
        if count[0] == 3:
            raise OSError(28, "No space left on device")
        return real(handle, text)

    two = run(late)
    with monkeypatch.context() as patch:
        patch.setattr(file_module.os, "write", write)
        two.outbox.catch_up()
    assert ids_in(late) == "12"
    assert two.outbox.pending() == 2
    assert two.outbox.to_list()[0]["error"]["code"] == "destination.full"
    # New events wait behind them, or the order would be lost.
    two.put("5")
    assert ids_in(late) == "12"
    three = run(late)
    three.outbox.catch_up()
    assert ids_in(late) == "12345"


def test_an_error_while_a_batch_is_written_ends_that_destination_for_this_run(
    tmp_path: Path, run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = run(tmp_path / "a")
    real = os.write

    def write(handle: int, text: bytes) -> int:
        real(handle, text[:4])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(file_module.os, "write", write)
        one.put("1")
    one.put("2")
    assert (tmp_path / "a").read_bytes() == b'{"id'
    assert one.outbox.pending() == 2
    one.end()
    two = run(tmp_path / "a")
    two.outbox.catch_up()
    assert ids_in(tmp_path / "a") == "12"


def test_a_job_that_another_run_interrupted_does_not_touch_the_others(tmp_path: Path, run: Callable[..., Run]) -> None:
    run(tmp_path / "a", job="one").commit("1")
    other = run(tmp_path / "b", job="two")
    other.outbox.catch_up()
    other.put("2")
    assert ids_in(tmp_path / "b") == "2"
    other.end()
    again = run(tmp_path / "a", job="one")
    again.outbox.catch_up()
    assert ids_in(tmp_path / "a") == "1"


def test_sequence_rises_and_stays_with_an_event_that_waited(tmp_path: Path, run: Callable[..., Run]) -> None:
    late = tmp_path / "late" / "b"
    one = run(tmp_path / "a", late, text_format="envelope")
    one.put("1", "2")
    late.parent.mkdir()
    two = run(tmp_path / "a", late, text_format="envelope")
    two.outbox.catch_up()
    two.put("3")
    numbers = [
        [json.loads(line)["wdatp"]["sequence"] for line in path.read_bytes().splitlines()]
        for path in (tmp_path / "a", late)
    ]
    assert numbers == [[1, 2, 3], [1, 2, 3]]


def test_formats_can_differ_from_file_to_file(tmp_path: Path, run: Callable[..., Run]) -> None:
    one = run(tmp_path / "a")
    one.outbox = Outbox(
        one.store, one.job, [FileDestination(str(tmp_path / "a")), FileDestination(str(tmp_path / "b"), "envelope")]
    )
    one.put("1")
    assert ids_in(tmp_path / "a") == "1"
    (line,) = (tmp_path / "b").read_bytes().splitlines()
    assert json.loads(line)["alert"] == {"id": "1"}
    assert json.loads(line)["wdatp"]["event_id"] == "1"
