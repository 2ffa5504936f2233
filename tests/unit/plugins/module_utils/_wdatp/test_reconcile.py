# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is everything there? Whole pulls whose files or stores somebody has touched, against the mock tenant."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp.destinations.file import FileDestination
from ansible_collections.secops.defender.plugins.module_utils._wdatp.errors import DestinationError, StoreError
from ansible_collections.secops.defender.plugins.module_utils._wdatp.pull import Context, pull
from mock_api import MockTenant, TenantConfig

Pull = Callable[..., "dict[str, Any]"]
APIS = ("graph_alerts", "graph_incidents", "mde_alerts", "alert_exporter")


@pytest.fixture
def tenant(clean_environment: None) -> Iterator[MockTenant]:
    with MockTenant(TenantConfig(alerts=60, span="20h", recent_share=0.0)) as running:
        yield running


@pytest.fixture
def pulled(tenant: MockTenant, tmp_path: Path) -> Pull:
    """pulled(reconcile="report", …) -> the result of one more pull; its warnings are in `said`."""
    known = {
        **tenant.options,
        "config_dir": str(tmp_path / "etc"),
        "retries": 1,
        "page_size": 25,
    }

    def run(*paths: Path, state: Path = tmp_path / "state", check_mode: bool = False, **options: Any) -> dict[str, Any]:
        said: list[str] = []
        files = [{"path": str(path)} for path in paths or [out_of(tmp_path)]]
        context = Context(warn=said.append, check_mode=check_mode)
        report = pull({**known, "state_dir": str(state), "destinations": files, **options}, context)
        assert report.failure() is None
        return {**report.to_dict(), "said": said}

    return run


def out_of(tmp_path: Path) -> Path:
    return tmp_path / "alerts.jsonl"


def truth(tenant: MockTenant, api: str = "graph_alerts") -> Counter[bytes]:
    return Counter(raw for _id, _time, raw in tenant.alerts(api))


def held(*paths: Path) -> Counter[bytes]:
    return Counter(line for path in paths for line in path.read_bytes().splitlines())


def without(path: Path, *numbers: int) -> list[str]:
    """Takes these lines out of a file; their alerts' ids."""
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(line for number, line in enumerate(lines) if number not in numbers))
    return [json.loads(lines[number]).get("id") for number in numbers]


# --- the file ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("api", APIS)
def test_nothing_is_missing_after_a_pull(api: str, tenant: MockTenant, pulled: Pull, tmp_path: Path) -> None:
    count = pulled(api=api)["written"]
    before = out_of(tmp_path).read_bytes()
    found = pulled(api=api, reconcile="report")
    assert found["reconciled"] == {
        "api": count,
        "delivered": count,
        "left_out": 0,
        "missing": 0,
        "filled": 0,
        "ids": [],
    }
    assert (found["changed"], found["written"], found["manifest"]["problems"]) == (False, 0, [])
    assert out_of(tmp_path).read_bytes() == before


@pytest.mark.parametrize("text_format", ["raw", "envelope"])
@pytest.mark.parametrize("api", APIS)
def test_removed_lines_are_named_and_filled(
    api: str, text_format: str, tenant: MockTenant, pulled: Pull, tmp_path: Path
) -> None:
    path = out_of(tmp_path)
    options = {"api": api, "destinations": [{"path": str(path), "format": text_format}]}
    count = pulled(**options)["written"]
    without(path, 1, 5, count - 1)
    said = pulled(**options, reconcile="report")
    assert (said["reconciled"]["missing"], said["reconciled"]["delivered"]) == (3, count - 3)
    assert not said["changed"]
    assert said["manifest"]["problems"]
    found = pulled(**options, reconcile="fill")
    assert found["reconciled"]["ids"] == said["reconciled"]["ids"]
    assert (found["reconciled"]["filled"], found["written"], found["changed"]) == (3, 3, True)
    assert (found["new"], found["duplicates"]) == (0, count)
    again = pulled(**options, reconcile="fill")
    assert (again["reconciled"]["missing"], again["changed"], again["written"]) == (0, False, 0)
    if text_format == "raw":
        assert held(path) == truth(tenant, api)


def test_missing_ids_are_the_removed_ones(pulled: Pull, tmp_path: Path) -> None:
    pulled()
    ids = without(out_of(tmp_path), 0, 30)
    assert pulled(reconcile="report")["reconciled"]["ids"] == ids


def test_deleted_file_is_filled_again(tenant: MockTenant, pulled: Pull, tmp_path: Path) -> None:
    pulled()
    out_of(tmp_path).unlink()
    assert pulled(reconcile="report")["reconciled"]["missing"] == 60
    pulled(reconcile="fill")
    assert held(out_of(tmp_path)) == truth(tenant)


def test_rotated_files_count_as_delivered(tenant: MockTenant, pulled: Pull, tmp_path: Path) -> None:
    path = out_of(tmp_path)
    pulled()
    packed = tmp_path / "alerts.jsonl.2.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    tenant.add_alerts(5)
    pulled()
    path.rename(tmp_path / "alerts-20261125.jsonl")
    tenant.add_alerts(5)
    pulled()
    found = pulled(reconcile="fill")
    assert (found["reconciled"]["delivered"], found["reconciled"]["missing"]) == (70, 0)
    assert found["manifest"]["problems"] == []
    # A file of another name is none of them.
    (tmp_path / "alerts-20261125.jsonl").rename(tmp_path / "alerts-high.jsonl")
    assert pulled(reconcile="report")["reconciled"]["missing"] == 5


def test_only_the_file_that_lacks_an_event_gets_it(tenant: MockTenant, pulled: Pull, tmp_path: Path) -> None:
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    pulled(one, two)
    before = two.read_bytes()
    without(one, 5, 6)
    found = pulled(one, two, reconcile="fill")
    assert found["reconciled"]["filled"] == 2
    assert [item["written"] for item in found["destinations"]] == [2, 0]
    assert held(one) == held(two) == truth(tenant)
    assert two.read_bytes() == before


def test_what_waits_for_a_destination_is_not_missing(tenant: MockTenant, pulled: Pull, tmp_path: Path) -> None:
    one, late = tmp_path / "one.jsonl", tmp_path / "late" / "two.jsonl"
    with pytest.raises(AssertionError):
        pulled(one, late)
    (tmp_path / "late").mkdir()
    assert pulled(one, late, reconcile="report")["reconciled"]["missing"] == 0
    found = pulled(one, late, reconcile="fill")
    assert (found["reconciled"]["filled"], found["pending"]) == (0, 0)
    assert held(late) == truth(tenant)


def test_alert_that_came_later_than_the_overlap_is_found(tenant: MockTenant, pulled: Pull, tmp_path: Path) -> None:
    pulled()
    tenant.add_alerts(1)
    pulled()
    tenant.add_alerts(2, late_seconds=3 * 3600)
    assert pulled()["new"] == 0
    assert pulled(reconcile="report")["reconciled"]["missing"] == 2
    found = pulled(reconcile="fill")
    assert (found["new"], found["reconciled"]["filled"]) == (2, 2)
    assert held(out_of(tmp_path)) == truth(tenant)


def test_versions_that_were_left_out_are_not_missing(tenant: MockTenant, pulled: Pull, tmp_path: Path) -> None:
    pulled(updates="new_only")
    tenant.update_alerts(4)
    assert pulled(updates="new_only")["updated"] == 4
    found = pulled(updates="new_only", reconcile="fill")
    assert (found["reconciled"]["left_out"], found["reconciled"]["missing"], found["written"]) == (4, 0, 0)


def test_check_mode_of_a_fill_writes_nothing(tenant: MockTenant, pulled: Pull, tmp_path: Path) -> None:
    pulled()
    without(out_of(tmp_path), 1)
    before = out_of(tmp_path).read_bytes()
    found = pulled(reconcile="fill", check_mode=True)
    assert (found["changed"], found["written"], found["reconciled"]["missing"]) == (True, 0, 1)
    assert out_of(tmp_path).read_bytes() == before


def test_budget_ends_a_fill_and_the_next_one_goes_on(tenant: MockTenant, pulled: Pull, tmp_path: Path) -> None:
    pulled()
    out_of(tmp_path).unlink()
    found = pulled(reconcile="fill", max_events=10)
    assert (found["complete"], found["written"]) == (False, 10)
    assert pulled(reconcile="fill")["reconciled"]["filled"] == 50
    assert held(out_of(tmp_path)) == truth(tenant)


# --- the store -----------------------------------------------------------------------------------------------------


def test_state_from_a_backup_neither_loses_nor_repeats(tenant: MockTenant, pulled: Pull, tmp_path: Path) -> None:
    pulled()
    shutil.copytree(tmp_path / "state", tmp_path / "backup")
    for _number in range(3):
        tenant.add_alerts(7)
        tenant.update_alerts(2)
        pulled()
    before = held(out_of(tmp_path))
    shutil.rmtree(tmp_path / "state")
    shutil.copytree(tmp_path / "backup", tmp_path / "state")
    tenant.add_alerts(4)
    found = pulled()
    assert found["written"] == 4
    after = held(out_of(tmp_path))
    assert max(after.values()) == 1
    assert set(before) <= set(after)
    assert set(truth(tenant)) <= set(after)
    assert pulled()["written"] == 0
    assert pulled(reconcile="report")["manifest"]["problems"] == []


def test_backup_of_two_apis_in_one_file(tenant: MockTenant, pulled: Pull, tmp_path: Path) -> None:
    """What is found in the file counts for every API, whichever is pulled first."""
    apis = ("graph_alerts", "mde_alerts")
    for api in apis:
        pulled(api=api)
    shutil.copytree(tmp_path / "state", tmp_path / "backup")
    tenant.add_alerts(7)
    for api in apis:
        pulled(api=api)
    shutil.rmtree(tmp_path / "state")
    (tmp_path / "backup").rename(tmp_path / "state")
    assert [pulled(api=api)["written"] for api in apis] == [0, 0]
    assert max(held(out_of(tmp_path)).values()) == 1


def test_backup_with_rotation_since(tenant: MockTenant, pulled: Pull, tmp_path: Path) -> None:
    path = out_of(tmp_path)
    pulled()
    shutil.copytree(tmp_path / "state", tmp_path / "backup")
    tenant.add_alerts(3)
    pulled()
    path.rename(f"{path}.1")
    tenant.add_alerts(3)
    pulled()
    shutil.rmtree(tmp_path / "state")
    (tmp_path / "backup").rename(tmp_path / "state")
    assert pulled()["written"] == 0


def test_sequence_rises_over_a_restored_state(tenant: MockTenant, pulled: Pull, tmp_path: Path) -> None:
    path = out_of(tmp_path)
    options = {"destinations": [{"path": str(path), "format": "envelope"}]}
    pulled(**options)
    shutil.copytree(tmp_path / "state", tmp_path / "backup")
    tenant.add_alerts(5)
    pulled(**options)
    shutil.rmtree(tmp_path / "state")
    (tmp_path / "backup").rename(tmp_path / "state")
    tenant.add_alerts(5)
    pulled(**options)
    numbers = [json.loads(line)["wdatp"]["sequence"] for line in path.read_bytes().splitlines()]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == 70


def test_lost_state_does_not_repeat_what_the_file_holds(tenant: MockTenant, pulled: Pull, tmp_path: Path) -> None:
    pulled()
    shutil.rmtree(tmp_path / "state")
    tenant.add_alerts(2)
    assert pulled()["written"] == 2
    assert held(out_of(tmp_path)) == truth(tenant)


def test_file_of_another_job_is_taken_over_without_doubles(tenant: MockTenant, pulled: Pull, tmp_path: Path) -> None:
    """Alone, then together with another file, then alone again: its old job comes back with its old ledger."""
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    pulled(one)
    pulled(two)
    tenant.add_alerts(5)
    pulled(one, two)
    tenant.add_alerts(5)
    pulled(two)
    assert held(two) == truth(tenant)


def test_events_that_wait_in_another_job_are_delivered(tenant: MockTenant, pulled: Pull, tmp_path: Path) -> None:
    one, late = tmp_path / "one.jsonl", tmp_path / "late" / "two.jsonl"
    with pytest.raises(AssertionError):
        pulled(late)
    pulled(one)
    (tmp_path / "late").mkdir()
    pulled(one, late)
    assert held(late) == truth(tenant)


@pytest.mark.parametrize("text_format", ["raw", "envelope"])
def test_backup_with_events_that_waited(tenant: MockTenant, pulled: Pull, tmp_path: Path, text_format: str) -> None:
    """They were delivered since; what of them still lacks is delivered, with rising numbers."""
    place = tmp_path / "late"
    path = place / "two.jsonl"
    options = {"destinations": [{"path": str(path), "format": text_format}]}
    with pytest.raises(AssertionError):
        pulled(**options)
    shutil.copytree(tmp_path / "state", tmp_path / "backup")
    place.mkdir()
    pulled(**options)
    tenant.add_alerts(3)
    pulled(**options)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[5:]))
    shutil.rmtree(tmp_path / "state")
    (tmp_path / "backup").rename(tmp_path / "state")
    assert pulled(**options)["pending"] == 0
    lines = path.read_bytes().splitlines()
    assert len(lines) == 63
    if text_format == "raw":
        assert held(path) == truth(tenant)
    else:
        numbers = [json.loads(line)["wdatp"]["sequence"] for line in lines]
        assert numbers == sorted(set(numbers))
    assert pulled(**options)["written"] == 0


def test_restored_state_while_the_file_is_out_of_reach(tenant: MockTenant, pulled: Pull, tmp_path: Path) -> None:
    """What it holds is not known then, so it is looked at before anything is delivered to it."""
    place, away = tmp_path / "mount", tmp_path / "away"
    path = place / "alerts.jsonl"
    place.mkdir()
    pulled(path)
    shutil.copytree(tmp_path / "state", tmp_path / "backup")
    tenant.add_alerts(7)
    pulled(path)
    shutil.rmtree(tmp_path / "state")
    (tmp_path / "backup").rename(tmp_path / "state")
    place.rename(away)
    with pytest.raises(AssertionError):
        pulled(path)
    away.rename(place)
    assert pulled(path)["pending"] == 0
    assert held(path) == truth(tenant)


@pytest.mark.parametrize("how", ["report", "fill"])
def test_reconcile_needs_the_files(pulled: Pull, tmp_path: Path, how: str) -> None:
    """A directory that is away, such as one that is not mounted, is no file that was deleted."""
    place = tmp_path / "mount"
    place.mkdir()
    pulled(place / "alerts.jsonl")
    place.rename(tmp_path / "away")
    with pytest.raises(DestinationError) as caught:
        pulled(place / "alerts.jsonl", reconcile=how)
    assert caught.value.code == "destination.no_directory"
    (tmp_path / "away").rename(place)
    assert pulled(place / "alerts.jsonl")["written"] == 0


def test_fill_that_ends_early_leaves_what_it_has_read(tenant: MockTenant, pulled: Pull, tmp_path: Path) -> None:
    """The state was lost, a budget ends the fill: the ordinary pull behind it repeats nothing."""
    pulled()
    shutil.rmtree(tmp_path / "state")
    without(out_of(tmp_path), 2, 3, 4, 5)
    pulled(reconcile="fill", max_events=2)
    pulled()
    assert held(out_of(tmp_path)) == truth(tenant)


def test_sequence_rises_over_a_fill_with_a_new_state(tenant: MockTenant, pulled: Pull, tmp_path: Path) -> None:
    path = out_of(tmp_path)
    options = {"destinations": [{"path": str(path), "format": "envelope"}]}
    pulled(**options)
    shutil.rmtree(tmp_path / "state")
    tenant.add_alerts(1)
    pulled(**options, reconcile="fill")
    numbers = [json.loads(line)["wdatp"]["sequence"] for line in path.read_bytes().splitlines()]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == 61


@pytest.mark.parametrize("rotates", [False, True])
def test_file_that_moves_after_a_crash_in_mid_write(
    tenant: MockTenant, pulled: Pull, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rotates: bool
) -> None:
    """The torn part lies in the rotated file: its whole lines count, its torn line comes again in the new file."""
    path = out_of(tmp_path)
    real = FileDestination._append

    def torn(self: FileDestination, text: memoryview) -> None:
        real(self, text[: len(text) // 2])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(FileDestination, "_append", torn)
        with pytest.raises(KeyboardInterrupt):
            pulled()
    if rotates:
        path.rename(f"{path}.1")
    pulled()
    if not rotates:
        assert held(path) == truth(tenant)
        return
    whole = Path(f"{path}.1").read_bytes().rpartition(b"\n")[0].splitlines()
    assert Counter(whole) + held(path) == truth(tenant)


def corrupt(path: Path) -> bytes:
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    content = bytearray(path.read_bytes())
    content[16384 + 20 :] = os.urandom(len(content) - 16384 - 20)
    path.write_bytes(bytes(content))
    return bytes(content)


def test_corrupt_store_is_kept_and_rebuilt_only_on_request(tenant: MockTenant, pulled: Pull, tmp_path: Path) -> None:
    pulled()
    tenant.add_alerts(5)
    database = tmp_path / "state" / "state.db"
    broken = corrupt(database)
    with pytest.raises(StoreError) as caught:
        pulled()
    assert caught.value.code == "store.corrupt"
    assert "reconcile: fill" in caught.value.remedy
    assert database.read_bytes() == broken
    found = pulled(reconcile="fill")
    (aside,) = [path for path in database.parent.iterdir() if ".corrupt-" in path.name and path.suffix != "-wal"]
    assert aside.read_bytes() == broken
    assert str(aside) in found["said"][0]
    assert found["written"] == 5
    assert held(out_of(tmp_path)) == truth(tenant)
    tenant.add_alerts(1)
    assert pulled()["written"] == 1


def test_torn_line_without_its_store_is_ended(tenant: MockTenant, pulled: Pull, tmp_path: Path) -> None:
    path = out_of(tmp_path)
    pulled()
    path.write_bytes(path.read_bytes()[:-100])
    shutil.rmtree(tmp_path / "state")
    before = path.read_bytes()
    pulled(reconcile="fill")
    after = path.read_bytes()
    assert after.startswith(before + b"\n")
    assert held(path) - truth(tenant) == Counter({before.rsplit(b"\n", 1)[1]: 1})
    assert not truth(tenant) - held(path)


# --- files that can't be read --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["alerts.jsonl.1.gz", "alerts.jsonl.2.bz2", "alerts.jsonl.3.xz"])
def test_packed_file_that_is_damaged_stops_only_a_reconcile(pulled: Pull, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\xfd7zXZ\0BZh9" * 3)
    found = pulled()
    assert found["written"] == 60
    assert any(name in text for text in found["said"])
    with pytest.raises(DestinationError) as caught:
        pulled(reconcile="fill")
    assert caught.value.code == "destination.not_readable"


def test_output_that_is_no_file_is_not_read(pulled: Pull, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "alerts.jsonl.1")
    assert pulled()["written"] == 60
    assert pulled(reconcile="report")["reconciled"]["missing"] == 0


def test_destination_that_was_added_gets_what_came_before(tenant: MockTenant, pulled: Pull, tmp_path: Path) -> None:
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    pulled(one)
    before = one.read_bytes()
    pulled(one, two)
    assert not two.exists() or not two.read_bytes()
    pulled(one, two, reconcile="fill")
    assert one.read_bytes() == before
    assert held(two) == truth(tenant)
