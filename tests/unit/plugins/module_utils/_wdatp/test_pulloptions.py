# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a pull: durations, windows, filters, numbers, and words for what makes no sense."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp.destinations.registry import destinations_of
from ansible_collections.secops.defender.plugins.module_utils._wdatp.errors import OptionError
from ansible_collections.secops.defender.plugins.module_utils._wdatp.pulloptions import (
    AUTO_OVERLAP,
    PullOptions,
    page_size_of,
    pull_options,
)
from ansible_collections.secops.defender.plugins.module_utils._wdatp.sources.registry import SOURCES, source_of
from ansible_collections.secops.defender.plugins.module_utils._wdatp.times import (
    DAY,
    HOUR,
    MINUTE,
    parse_time,
)
from hypothesis import given
from hypothesis import strategies as st

NOW = parse_time("2026-11-24T08:00:00Z")


def options(**given: Any) -> PullOptions:
    return pull_options({"state_dir": "/state", **given})


def refusal(**given: Any) -> OptionError:
    with pytest.raises(OptionError) as caught:
        options(**given)
    assert caught.value.remedy
    return caught.value


def test_defaults() -> None:
    found = options()
    assert (found.initial_lookback, found.overlap_for(0), found.updates, found.expand) == (
        DAY,
        30 * MINUTE,
        "all",
        True,
    )
    assert (found.max_events, found.max_seconds, found.max_bytes, found.return_events) == (None, None, None, 0)
    assert found.window(NOW) == (None, None)


@pytest.mark.parametrize(("overlap", "ticks"), [("auto", AUTO_OVERLAP), ("0s", 0), ("2h", 2 * HOUR)])
def test_overlap(overlap: str, ticks: int) -> None:
    assert options(overlap=overlap).overlap_for(0) == ticks


@pytest.mark.parametrize("name", ["overlap", "initial_lookback"])
@pytest.mark.parametrize("text", ["yes", "15", "-5m", "1.5h", "2026-11-24T08:00:00Z", "m"])
def test_what_is_no_duration(name: str, text: str) -> None:
    error = refusal(**{name: text})
    assert f"{name}: {text!r}" in error.message


@pytest.mark.parametrize("name", ["since", "until"])
def test_what_is_no_moment(name: str) -> None:
    assert f"{name}: 'yesterday'" in refusal(**{name: "yesterday"}).message


def test_moments_are_counted_back_from_the_servers_time() -> None:
    assert options(since="4h", until="15m").window(NOW) == (NOW - 4 * HOUR, NOW - 15 * MINUTE)
    assert options(since="2026-11-24T07:00:00+01:00").window(NOW) == (NOW - 2 * HOUR, None)


@pytest.mark.parametrize(
    ("since", "until"), [("15m", "4h"), ("15m", "15m"), ("2026-11-24T08:00:00Z", "2026-11-24T07:59:59Z")]
)
def test_a_window_that_ends_before_it_begins(since: str, until: str) -> None:
    error = refusal(since=since, until=until)
    assert since in error.message
    assert until in error.message


@pytest.mark.parametrize("since", ["99999d", "9" * 30 + "w", "0001-01-01T00:00:00Z"])
def test_since_is_as_far_back_as_one_likes(since: str) -> None:
    assert options(since=since).window(NOW) == (0, None)


@pytest.mark.parametrize("name", ["page_size", "max_events", "max_seconds", "max_bytes"])
@pytest.mark.parametrize("value", [0, -1])
def test_numbers_that_are_too_small(name: str, value: int) -> None:
    assert f"{name}: {value}" in refusal(**{name: value}).message
    assert getattr(options(**{name: 1}), name) == 1


def test_return_events_may_be_none_and_not_negative() -> None:
    assert options(return_events=0).return_events == 0
    assert "return_events: -1" in refusal(return_events=-1).message


@pytest.mark.parametrize("api", SOURCES)
def test_a_page_size_above_the_limit_is_taken_down_with_a_warning(api: str) -> None:
    source = source_of(api)
    limit = source.page_limit
    assert page_size_of(None, source) == (source.page_default, "")
    assert page_size_of(limit, source) == (limit, "")
    size, warning = page_size_of(limit + 1, source)
    assert size == limit
    assert f"page_size {limit + 1}" in warning
    assert str(limit) in warning


@given(st.dictionaries(st.sampled_from(["since", "until", "overlap", "initial_lookback"]), st.text(max_size=12)))
def test_nonsense_is_always_an_error_with_a_remedy(given: dict[str, str]) -> None:
    try:
        options(**given)
    except OptionError as error:
        assert error.message
        assert error.remedy


# --- destinations --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [None, [], [{}], [{"type": "file", "path": None, "format": "raw"}]])
def test_without_destinations_there_is_one_file(given: Any) -> None:
    (found,) = destinations_of(given, "/state")
    assert (found.kind, found.target, found.format) == ("file", "/state/events.jsonl", "raw")


def test_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path is a destination's name in the store: another working directory must not make it another one."""
    monkeypatch.chdir(tmp_path)
    (found,) = destinations_of([{"path": "out/../events"}], "state")
    assert found.target == str(tmp_path / "events")


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ([{"type": "syslog"}], "'syslog'"),
        ([{"format": "xml"}], "'xml'"),
        ([{"path": "/a"}, {"path": "/b"}, {"path": "/x/../a"}], "/a is named twice"),
        ([{}, {"format": "envelope"}], "/state/events.jsonl is named twice"),
    ],
)
def test_destinations_that_make_no_sense(given: Any, text: str) -> None:
    with pytest.raises(OptionError) as caught:
        destinations_of(given, "/state")
    assert text in caught.value.message
    assert caught.value.remedy
