# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""$filter: the index and the predicate must agree, and what is no filter must be refused."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mock_api.clock import time_text
from mock_api.odata import Field, FilterError, parse_filter
from mock_api.selection import Selection, select
from mock_api.timeline import Timeline

WORDS = {word: getattr(operator, word) for word in ("eq", "ne", "gt", "ge", "lt", "le")}
LEVELS = ("low", "medium", "high")
OWNERS = (None, "o'brien", "anna")
FIELDS = {
    "updated": Field("time", lambda number, ticks: ticks, indexed=True),
    "level": Field("enum", lambda number, ticks: LEVELS[number % 3], frozenset(LEVELS)),
    "owner": Field("text", lambda number, ticks: OWNERS[number % 5 % 3]),
    "count": Field("number", lambda number, ticks: number - 7),
}

Expression = tuple[str, Any]


def _compare(name: str, word: str, value: Any) -> Expression:
    literals: dict[str, Callable[[], str]] = {"updated": lambda: time_text(value), "count": lambda: str(value)}
    quoted = "null" if value is None else "'" + str(value).replace("'", "''") + "'"
    literal = literals.get(name, lambda: quoted)()

    def holds(number: int, ticks: int) -> bool:
        actual = FIELDS[name].read(number, ticks)
        if actual is None or value is None:
            return word in ("eq", "ne") and WORDS[word](actual, value)
        return bool(WORDS[word](actual, value))

    return f"{name} {word} {literal}", holds


comparisons = st.one_of(
    st.builds(_compare, st.just("updated"), st.sampled_from(sorted(WORDS)), st.integers(0, 30)),
    st.builds(_compare, st.just("level"), st.sampled_from(["eq", "ne"]), st.sampled_from(LEVELS)),
    st.builds(_compare, st.just("owner"), st.sampled_from(["eq", "ne"]), st.sampled_from(OWNERS)),
    st.builds(_compare, st.just("count"), st.sampled_from(sorted(WORDS)), st.integers(-9, 30)),
)


def _both(left: Expression, right: Expression) -> Expression:
    return f"({left[0]}) and ({right[0]})", lambda number, ticks: left[1](number, ticks) and right[1](number, ticks)


def _either(left: Expression, right: Expression) -> Expression:
    return f"({left[0]}) or ({right[0]})", lambda number, ticks: left[1](number, ticks) or right[1](number, ticks)


expressions = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.builds(_both, inner, inner),
        st.builds(_either, inner, inner),
        st.builds(lambda item: (f"not ({item[0]})", lambda number, ticks: not item[1](number, ticks)), inner),
    ),
    max_leaves=6,
)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=60).map(sorted),
    expressions,
    st.booleans(),
    st.integers(1, 20),
    st.integers(0, 10),
)
def test_pages_are_slices_of_what_fits(
    base: list[int], expression: Expression, newest_first: bool, top: int, skip: int
) -> None:
    text, holds = expression
    timeline = Timeline(len(base), base.__getitem__)
    fitting = [(ticks, number) for number, ticks in enumerate(base) if holds(number, ticks)]
    if newest_first:
        fitting.reverse()
    condition = parse_filter(text, FIELDS)
    found = select(timeline, Selection(condition, newest_first, top, skip, want_count=True))
    assert found.entries == fitting[skip : skip + top]
    assert found.more == (len(fitting) > skip + top)
    assert found.count == len(fitting)
    # And on from the last one, as a link does.
    if found.entries:
        after = select(timeline, Selection(condition, newest_first, 1000, after=found.entries[-1]))
        assert after.entries == fitting[skip + top :]
    # Another order than the index has.
    by_number = select(timeline, Selection(condition, newest_first, 1000, sort_by=lambda entry: (-entry[1], 0)))
    assert by_number.entries == sorted(fitting, key=lambda entry: -entry[1], reverse=newest_first)


def test_precedence_membership_and_case() -> None:
    def fits(text: str, ignore_case: bool = False) -> list[int]:
        condition = parse_filter(text, FIELDS, ignore_case)
        return [number for number in range(9) if condition.test is None or condition.test(number, number)]

    assert fits("level eq 'low' or level eq 'high' and count gt 0") == [0, 3, 6, 8]
    assert fits("level in ('low','HIGH')") == [0, 2, 3, 5, 6, 8]
    assert fits("owner eq 'o''brien'") == [1, 4, 6]
    assert fits("LEVEL eq 'Low'", ignore_case=True) == [0, 3, 6]
    assert parse_filter("updated ge 1970-01-01T00:00:00.0000002Z", FIELDS).low == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Syntax error"),
        ("level", "Syntax error"),
        ("level eq", "incompatible types"),
        ("level eq 'low' and", "Syntax error"),
        ("level eq 'low' 'high'", "Syntax error"),
        ("(level eq 'low'", "expected"),
        ("level = 'low'", "Syntax error at position 6"),
        ("level eq low", "incompatible types"),
        ("level eq 'nonsense'", "not a valid enumeration"),
        ("unknown eq 1", "Could not find a property named 'unknown'"),
        ("LEVEL eq 'low'", "Could not find a property named 'LEVEL'"),
        ("updated ge '2026-11-24T00:00:00Z'", "incompatible types"),
        ("updated ge 2026-11-24", "Syntax error"),
        ("updated ge 2026-13-24T00:00:00Z", "Unrecognized"),
        ("updated ge 2026-11-24T00:00:00", "Unrecognized"),
        ("updated ge 2026-11-24T00:00:00 00:00", "Syntax error"),
        ("updated ge null", "incompatible types"),
        ("count eq 'x'", "Edm.Int64"),
        ("contains(owner,'x')", "Could not find a property named 'contains'"),
        ("evidence/any(e:e eq 1)", "Syntax error"),
    ],
)
def test_no_filter(text: str, message: str) -> None:
    with pytest.raises(FilterError, match=message.replace("(", r"\(")):
        parse_filter(text, FIELDS)
