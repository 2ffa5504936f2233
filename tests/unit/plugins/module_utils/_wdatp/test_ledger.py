# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""New, updated or known, and which versions each policy writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp.ledger import (
    DUPLICATES,
    NEW,
    POLICIES,
    UPDATED,
    Ledger,
    Verdict,
)
from ansible_collections.secops.defender.plugins.module_utils._wdatp.options import PULL
from ansible_collections.secops.defender.plugins.module_utils._wdatp.page import Event
from ansible_collections.secops.defender.plugins.module_utils._wdatp.sources.registry import source_of
from ansible_collections.secops.defender.plugins.module_utils._wdatp.store import Entry, Known, Store
from hypothesis import given
from hypothesis import strategies as st

GRAPH = source_of("graph_alerts")
TODAY = 20_000

# A run's judge: events -> (kind, is_written) of each; what it says is remembered for the next.
Judge = Callable[..., list[tuple[str, bool]]]


def alert(event_id: str, second: int | None, more: str = "", created: int = 0) -> Event:
    """An alert as of this second; without one, an alert without a time."""
    updated = "never" if second is None else f"2026-11-24T08:00:{second:02d}Z"
    fields = {"id": event_id, "lastUpdateDateTime": updated}
    raw = (
        f'{{"id":"{event_id}","createdDateTime":"2026-11-24T08:00:{created:02d}Z",'
        f'"lastUpdateDateTime":"{updated}","x":"{more}"}}'
    )
    return GRAPH.event(raw.encode(), fields)


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Callable[[str], Judge]]:
    """runs(policy) -> a judge; each call of it is a batch of its own, against a real store."""
    with Store(str(tmp_path)) as store:
        stream = store.stream(store.job("job"), "tenant", "graph_alerts")

        def make(policy: str) -> Judge:
            ledger = Ledger(lambda ids: store.known(stream, ids), policy, GRAPH.time_field)

            def judge(*events: Event) -> list[tuple[str, bool]]:
                verdicts: list[Verdict] = list(ledger.judge(list(events)))
                with store.transaction():
                    store.remember(stream, [verdict.entry for verdict in verdicts if verdict.kind != DUPLICATES], TODAY)
                return [(verdict.kind, verdict.is_due) for verdict in verdicts]

            return judge

        yield make


def test_every_policy_that_users_can_type_is_there() -> None:
    (updates,) = [option for option in PULL if option.name == "updates"]
    assert set(updates.choices) == set(POLICIES)
    assert updates.default == "all"


@pytest.mark.parametrize("policy", POLICIES)
def test_first_version_is_new_and_written(runs: Callable[[str], Judge], policy: str) -> None:
    assert runs(policy)(alert("a", 1), alert("b", 1)) == [(NEW, True), (NEW, True)]


@pytest.mark.parametrize("policy", POLICIES)
def test_the_same_version_is_a_duplicate(runs: Callable[[str], Judge], policy: str) -> None:
    judge = runs(policy)
    assert judge(alert("a", 1), alert("a", 1)) == [(NEW, True), (DUPLICATES, False)]
    assert judge(alert("a", 1)) == [(DUPLICATES, False)]


@pytest.mark.parametrize(
    ("policy", "is_written"), [("all", True), ("latest", True), ("changed", True), ("new_only", False)]
)
@pytest.mark.parametrize("in_one_batch", [True, False])
def test_newer_version(runs: Callable[[str], Judge], policy: str, is_written: bool, in_one_batch: bool) -> None:
    judge = runs(policy)
    versions = [alert("a", 1), alert("a", 2, "other")]
    found = judge(*versions) if in_one_batch else judge(versions[0]) + judge(versions[1])
    assert found == [(NEW, True), (UPDATED, is_written)]
    assert judge(versions[1]) == [(DUPLICATES, False)]


@pytest.mark.parametrize(
    ("policy", "is_written"), [("all", True), ("latest", False), ("changed", False), ("new_only", False)]
)
@pytest.mark.parametrize("in_one_batch", [True, False])
def test_older_version_after_a_newer(
    runs: Callable[[str], Judge], policy: str, is_written: bool, in_one_batch: bool
) -> None:
    judge = runs(policy)
    versions = [alert("a", 3), alert("a", 2, "other")]
    found = judge(*versions) if in_one_batch else judge(versions[0]) + judge(versions[1])
    assert found == [(NEW, True), (UPDATED, is_written)]
    # The older one did not become the newest.
    assert judge(alert("a", 2, "other"), alert("a", 3)) == [(DUPLICATES, False)] * 2


@pytest.mark.parametrize(
    ("policy", "is_written"), [("all", True), ("latest", True), ("changed", False), ("new_only", False)]
)
@pytest.mark.parametrize("created", [0, 1], ids=["created before", "created at the first update"])
def test_version_in_which_only_the_time_is_new(
    runs: Callable[[str], Judge], policy: str, is_written: bool, created: int
) -> None:
    judge = runs(policy)
    assert judge(alert("a", 1, created=created)) == [(NEW, True)]
    assert judge(alert("a", 2, created=created)) == [(UPDATED, is_written)]


def test_changed_compares_with_the_newest_version(runs: Callable[[str], Judge]) -> None:
    judge = runs("changed")
    judge(alert("a", 1, "x"), alert("a", 2, "y"))
    # Back to the first content is a change against the second.
    assert judge(alert("a", 3, "x"), alert("a", 4, "x")) == [(UPDATED, True), (UPDATED, False)]


def test_changed_writes_once_where_an_earlier_run_kept_no_content(runs: Callable[[str], Judge]) -> None:
    runs("all")(alert("a", 1))
    judge = runs("changed")
    assert judge(alert("a", 2)) == [(UPDATED, True)]
    assert judge(alert("a", 3)) == [(UPDATED, False)]


def test_times_that_are_spelled_differently_are_one_version(runs: Callable[[str], Judge]) -> None:
    judge = runs("all")
    fields = {"id": "a", "lastUpdateDateTime": "2026-11-24T08:00:01Z"}
    judge(GRAPH.event(b"1", fields))
    assert judge(GRAPH.event(b"2", {**fields, "lastUpdateDateTime": "2026-11-24T08:00:01.000Z"})) == [
        (DUPLICATES, False)
    ]


def test_without_a_time_the_content_is_the_version(runs: Callable[[str], Judge]) -> None:
    judge = runs("all")
    assert judge(alert("a", None), alert("a", None), alert("a", None, "other")) == [
        (NEW, True),
        (DUPLICATES, False),
        (UPDATED, True),
    ]


def test_streams_have_ledgers_of_their_own(tmp_path: Path) -> None:
    with Store(str(tmp_path)) as store:
        job = store.job("job")
        first, second = (store.stream(job, tenant, "graph_alerts") for tenant in ("one", "two"))
        with store.transaction():
            store.remember(first, [Entry(1, 1, None, True)], TODAY)
        assert store.known(first, [1]) != {}
        assert store.known(second, [1]) == {}


@given(
    batches=st.lists(
        st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5), st.sampled_from(["", "x"])), max_size=6),
        max_size=5,
    ),
    policy=st.sampled_from(sorted(POLICIES)),
)
def test_whatever_comes_every_policy_keeps_its_word(batches: list[list[tuple[str, int, str]]], policy: str) -> None:
    """Against a model that keeps everything it has seen."""
    seen: dict[str, dict[int, str]] = {}
    rows: dict[int, dict[int, int | None]] = {}

    def look_up(ids: list[int]) -> dict[int, Known]:
        return {
            number: Known(dict.fromkeys(rows[number], True), max(rows[number]), rows[number][max(rows[number])])
            for number in ids
            if number in rows
        }

    ledger = Ledger(look_up, policy, GRAPH.time_field)
    for batch in batches:
        events = [alert(*item) for item in batch]
        for (name, second, more), verdict in zip(batch, list(ledger.judge(events))):
            versions = seen.setdefault(name, {})
            newest = max(versions, default=-1)
            expected = {
                "all": second not in versions,
                "latest": second > newest,
                "new_only": not versions,
                "changed": second > newest and (not versions or versions[newest] != more),
            }[policy]
            assert verdict.is_due == (expected and second not in versions)
            kind = DUPLICATES if second in versions else UPDATED if versions else NEW
            assert verdict.kind == kind
            versions.setdefault(second, more)
            number, version, content, _written = verdict.entry
            rows.setdefault(number, {}).setdefault(version, content)
