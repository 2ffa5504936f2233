# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""$filter as far as Microsoft documents it: comparisons, `in`, and, or, not, parentheses. All else is an error."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .clock import parse_time

_TOKEN = re.compile(
    r"\s+|(?P<string>'(?:[^']|'')*')|(?P<time>\d{4}-\d\d-\d\dT[0-9:.]+(?:Z|[+-]\d\d:\d\d)?)|(?P<number>-?\d+(?![\w-]))"
    r"|(?P<guid>[0-9a-fA-F]{8}-[0-9a-fA-F-]{27})|(?P<name>[A-Za-z_][\w./]*)|(?P<mark>[(),])"
)
_COMPARE = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}


class FilterError(ValueError):
    """What the API's 400 says."""


@dataclass(frozen=True)
class Field:
    """A property that may be filtered. `kind`: time, text, number or enum."""

    kind: str
    read: Callable[[int, int], Any]
    members: frozenset[str] = frozenset()
    # The property by which the data is indexed.
    indexed: bool = False


Predicate = Callable[[int, int], bool]


@dataclass(frozen=True)
class Condition:
    """A filter: the range of the indexed time that it allows, and a test for the rest (None: the range says it all)."""

    low: int | None = None
    high: int | None = None
    test: Predicate | None = None


@dataclass(frozen=True)
class _Node:
    test: Predicate
    low: int | None = None
    high: int | None = None
    # The range alone decides.
    exact: bool = False


class _Parser:
    def __init__(self, text: str, fields: Mapping[str, Field], ignore_case: bool) -> None:
        self.text = text
        self.fields = {key.lower(): value for key, value in fields.items()} if ignore_case else dict(fields)
        self.ignore_case = ignore_case
        self.tokens = self._tokens(text)
        self.position = 0

    def _tokens(self, text: str) -> list[tuple[str, str]]:
        found, position = [], 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                raise FilterError(f"Syntax error at position {position} in '{text}'.")
            if match.lastgroup:
                found.append((match.lastgroup, match[0]))
            position = match.end()
        return found

    def peek(self) -> tuple[str, str]:
        return self.tokens[self.position] if self.position < len(self.tokens) else ("end", "")

    def take(self) -> tuple[str, str]:
        token = self.peek()
        self.position += 1
        return token

    def word(self, *words: str) -> bool:
        if self.peek() in [("name", word) for word in words]:
            self.position += 1
            return True
        return False

    def mark(self, mark: str) -> None:
        if self.take() != ("mark", mark):
            raise FilterError(f"Syntax error: '{mark}' expected in '{self.text}'.")

    def parse(self) -> _Node:
        node = self.either()
        if self.peek()[0] != "end":
            raise FilterError(f"Syntax error at '{self.peek()[1]}' in '{self.text}'.")
        return node

    def either(self) -> _Node:
        node = self.both()
        while self.word("or"):
            left, right = node, self.both()
            node = _Node(_any(left.test, right.test), *_union(left, right))
        return node

    def both(self) -> _Node:
        node = self.single()
        while self.word("and"):
            left, right = node, self.single()
            low = _pick(max, left.low, right.low)
            high = _pick(min, left.high, right.high)
            node = _Node(_all(left.test, right.test), low, high, left.exact and right.exact)
        return node

    def single(self) -> _Node:
        if self.word("not"):
            return _Node(_inverse(self.single().test))
        if self.peek() == ("mark", "("):
            self.mark("(")
            node = self.either()
            self.mark(")")
            return node
        return self.comparison()

    def comparison(self) -> _Node:
        kind, name = self.take()
        if kind != "name":
            raise FilterError(f"Syntax error at '{name}' in '{self.text}'.")
        field = self.fields.get(name.lower() if self.ignore_case else name)
        if field is None:
            raise FilterError(f"Could not find a property named '{name}', or it does not support filtering.")
        kind, word = self.take()
        if (kind, word) == ("name", "in"):
            return self.membership(field)
        if kind != "name" or word not in _COMPARE:
            raise FilterError(f"Syntax error at '{word}' in '{self.text}'.")
        value = self.literal(field, word)
        test = _comparison(field.read, _COMPARE[word], value)
        if field.indexed and word != "ne":
            return _Node(test, *_range(word, value), True)
        return _Node(test)

    def membership(self, field: Field) -> _Node:
        self.mark("(")
        values = [self.literal(field, "eq")]
        while self.peek() == ("mark", ","):
            self.mark(",")
            values.append(self.literal(field, "eq"))
        self.mark(")")
        return _Node(lambda number, ticks: field.read(number, ticks) in values)

    def literal(self, field: Field, word: str) -> Any:
        kind, text = self.take()
        if (kind, text) == ("name", "null") and field.kind != "time":
            return None
        wanted = {"time": "time", "number": "number"}.get(field.kind, "string")
        if kind != wanted:
            left, right = _EDM[field.kind], _EDM.get(kind, "String")
            raise FilterError(
                "A binary operator with incompatible types was detected. "
                f"Found operand types 'Edm.{left}' and 'Edm.{right}' for operator kind '{word}'."
            )
        return _LITERALS[field.kind](field, text)


_EDM = {"time": "DateTimeOffset", "number": "Int64", "text": "String", "enum": "String", "guid": "Guid"}


def _time(field: Field, text: str) -> int:
    try:
        return parse_time(text)
    except ValueError:
        raise FilterError(f"Unrecognized 'Edm.DateTimeOffset' literal '{text}'.") from None


def _enum(field: Field, text: str) -> str:
    value = text[1:-1].lower()
    if value not in field.members:
        raise FilterError(f"The string {text} is not a valid enumeration type constant.")
    return value


_LITERALS: dict[str, Callable[[Field, str], Any]] = {
    "time": _time,
    "enum": _enum,
    "number": lambda field, text: int(text),
    "text": lambda field, text: text[1:-1].replace("''", "'"),
}


def _any(left: Predicate, right: Predicate) -> Predicate:
    return lambda number, ticks: left(number, ticks) or right(number, ticks)


def _all(left: Predicate, right: Predicate) -> Predicate:
    return lambda number, ticks: left(number, ticks) and right(number, ticks)


def _inverse(test: Predicate) -> Predicate:
    return lambda number, ticks: not test(number, ticks)


def _comparison(read: Callable[[int, int], Any], compare: Callable[[Any, Any], bool], value: Any) -> Predicate:
    def test(number: int, ticks: int) -> bool:
        actual = read(number, ticks)
        if actual is None or value is None:
            return compare in (operator.eq, operator.ne) and compare(actual, value)
        return compare(actual, value)

    return test


def _range(word: str, value: int) -> tuple[int | None, int | None]:
    return {
        "eq": (value, value),
        "gt": (value + 1, None),
        "ge": (value, None),
        "lt": (None, value - 1),
        "le": (None, value),
    }[word]


def _pick(choose: Callable[..., int], left: int | None, right: int | None) -> int | None:
    given = [value for value in (left, right) if value is not None]
    return choose(given) if given else None


def _union(left: _Node, right: _Node) -> tuple[int | None, int | None]:
    low = None if left.low is None or right.low is None else min(left.low, right.low)
    high = None if left.high is None or right.high is None else max(left.high, right.high)
    return low, high


def parse_filter(text: str, fields: Mapping[str, Field], ignore_case: bool = False) -> Condition:
    node = _Parser(text, fields, ignore_case).parse()
    return Condition(node.low, node.high, None if node.exact else node.test)
