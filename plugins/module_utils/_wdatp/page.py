# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the body of an answer to events: each the very slice of bytes that Microsoft sent, never a re-encoding.

The body is read as Latin-1, where every byte is one character: so positions in the text are positions in the bytes,
the C scanner of the json module finds the borders, and any UTF-8, even a broken one, comes through untouched.
Numbers stay text (1E400 and 20-digit ids have to survive, and an id may come as a number).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from json.decoder import WHITESPACE, scanstring  # type: ignore[attr-defined]
from json.scanner import make_scanner
from math import isinf
from typing import Any, NamedTuple

from .errors import TransportError

# How a version, or an id, begins that was made from the content, for want of a better one.
CONTENT = "sha256:"
# So many characters of a text are enough for a report.
SHORT = 200
# ASCII's unit separator, between such texts.
_UNIT = "\x1f"

_BOM = b"\xef\xbb\xbf"
# Control characters inside strings are not JSON, but losing a page for one would be worse.
_scan = make_scanner(json.JSONDecoder(strict=False, parse_int=str, parse_float=str, parse_constant=str))  # type: ignore[arg-type]
_blank = WHITESPACE.match

Fields = dict[str, Any]


class Columns(NamedTuple):
    """What a report shows of an event: short texts, in the API's own words."""

    severity: str = ""
    title: str = ""
    status: str = ""
    machine: str = ""
    user: str = ""

    def packed(self) -> str:
        """As one text: while an event lives, a tuple would be one thing more for the garbage collector to look at."""
        text = _UNIT.join(self)
        return text if text.count(_UNIT) == len(self) - 1 else _UNIT.join(part.replace(_UNIT, " ") for part in self)

    @classmethod
    def unpacked(cls, text: str) -> Columns:
        return cls(*text.split(_UNIT))


class Event(NamedTuple):
    """One alert or incident. `version`: its update time, Microsoft's own text; `ticks`: the same as a number."""

    ticks: int
    id: str
    version: str
    raw: bytes
    # What a report shows: see Columns.packed.
    columns: str = Columns().packed()


class Page(NamedTuple):
    """`events`: what was made of the rows. `rows`: how many there were. `total`: what $count said, if it was asked."""

    events: list[Event]
    rows: int
    next_link: str | None = None
    total: int | None = None


# Makes an event of a row's bytes and its fields as the scanner read them; None leaves the row out.
Make = Callable[[bytes, Fields], "Event | None"]


def text_of(value: Any) -> str:
    """A field's text: undoes the Latin-1 reading. `\\u` escapes next to raw non-ASCII bytes stay as they were read."""
    if not isinstance(value, str):
        return "" if value is None else str(value)
    if value.isascii():
        return value
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value


def short_text(value: Any) -> str:
    """A field's text for a report; empty where it holds no text."""
    if not isinstance(value, str):
        return ""
    # Most texts are ASCII, and this is asked several times for each event.
    return value[:SHORT] if value.isascii() else text_of(value)[:SHORT]


def value_of(raw: bytes) -> Any:
    """A row as values, for people and playbooks. Lenient where the scanner is: a row that was kept can be shown."""
    text = raw.decode("utf-8", "replace")
    return json.loads(text, strict=False, parse_int=_int, parse_float=_float, parse_constant=str)


def _int(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:
        # Python refuses thousands of digits.
        return text


def _float(text: str) -> float | str:
    """A number beyond Python's largest stays as it is written: infinity is no JSON, and in a template it is a name."""
    number = float(text)
    return text if isinf(number) else number


def parse_page(body: bytes, place: str, first_line: Callable[[bytes], str], make: Make) -> Page:
    """The rows of `{"value": [...]}`, of a bare array, or of a lone object. TransportError where it is no such JSON."""
    try:
        page = _Reader(body, make).page()
    except (ValueError, StopIteration, IndexError, RecursionError):
        line = first_line(body)
        begins = f'; it begins "{line}"' if line else " (it is empty)"
        raise TransportError(
            f"{place} answered with something that is not JSON{begins}.",
            "A proxy's sign-in page or a cut-off answer looks like this: check proxy, host and api_url; run again.",
            code="network.not_json",
        ) from None
    if page is None:
        raise TransportError(
            f'{place} answered with JSON that holds no list of alerts; it begins "{first_line(body)}".',
            "Check host, api and api_url: another service seems to answer there.",
            code="network.no_list",
        )
    return page


def parse_line(line: bytes) -> Fields | None:
    """The fields of one alert that stands on a line of its own; None where it is none."""
    text = line.decode("latin-1")
    try:
        fields, end = _scan(text, 0)
    except (ValueError, StopIteration, RecursionError):
        return None
    return fields if isinstance(fields, dict) and _blank(text, end).end() == len(text) else None


class _Reader:
    """Walks one body. Rows become events at once: a page of parsed rows would cost more than all else here."""

    def __init__(self, body: bytes, make: Make) -> None:
        self.body = body
        self.text = body.decode("latin-1")
        self.make = make
        self.events: list[Event] = []
        self.rows = 0

    def page(self) -> Page | None:
        start = self._skip(len(_BOM) if self.body.startswith(_BOM) else 0)
        if self.text[start] == "{":
            return self._object(start)
        if self.text[start] == "[":
            self._expect_end(self._array(start))
            return Page(self.events, self.rows)
        # JSON of another kind, or (ValueError, StopIteration) none at all, such as a page of HTML.
        self._expect_end(_scan(self.text, start)[1])
        return None

    def _skip(self, position: int) -> int:
        return int(_blank(self.text, position).end())

    def _expect(self, mark: str, position: int) -> int:
        """The position behind the mark and the blanks around it."""
        position = self._skip(position)
        if self.text[position] != mark:
            raise ValueError(f"{mark} is missing")
        return self._skip(position + 1)

    def _expect_end(self, position: int) -> None:
        if self._skip(position) != len(self.text):
            raise ValueError("text after the end")

    def _object(self, start: int) -> Page | None:
        """The members one by one, so that the array is walked where it stands and not built as a whole."""
        text, others, has_list = self.text, {}, False
        end = self._skip(start + 1)
        is_more = text[end] != "}"
        while is_more:
            if text[end] != '"':
                raise ValueError("a member's name is missing")
            name, end = scanstring(text, end + 1, False)
            end = self._expect(":", end)
            if name == "value" and text[end] == "[":
                has_list, end = True, self._array(end)
            else:
                others[name], end = _scan(text, end)
            end = self._skip(end)
            is_more = text[end] != "}"
            if is_more:
                end = self._expect(",", end)
        self._expect_end(end + 1)
        if not has_list:
            return self._lone_object(start, end + 1, others)
        link, total = others.get("@odata.nextLink"), others.get("@odata.count")
        return Page(
            self.events,
            self.rows,
            text_of(link) or None if isinstance(link, str) else None,
            int(total) if isinstance(total, str) and total.isdecimal() else None,
        )

    def _lone_object(self, start: int, end: int, fields: Fields) -> Page | None:
        """The alert exporter's oldest samples show one object without brackets."""
        if "AlertId" not in fields:
            return None
        self._row(start, end, fields)
        return Page(self.events, self.rows)

    def _row(self, start: int, end: int, fields: Fields) -> None:
        self.rows += 1
        event = self.make(self.body[start:end], fields)
        if event is not None:
            self.events.append(event)

    def _array(self, start: int) -> int:
        text = self.text
        end = self._skip(start + 1)
        if text[end] == "]":
            return end + 1
        while True:
            begin = end
            if text[begin] != "{":
                raise ValueError("a row is no object")
            fields, end = _scan(text, begin)
            self._row(begin, end, fields)
            # Most answers have no blanks here.
            if text[end] not in ",]":
                end = self._skip(end)
            if text[end] == "]":
                return end + 1
            end += 1
            if text[end] != "{":
                if text[end - 1] != ",":
                    raise ValueError("a comma is missing")
                end = self._skip(end)
