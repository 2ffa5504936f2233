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
from typing import Any, NamedTuple

from .errors import TransportError

# How a version, or an id, begins that was made from the content, for want of a better one.
CONTENT = "sha256:"

_BOM = b"\xef\xbb\xbf"
# Control characters inside strings are not JSON, but losing a page for one would be worse.
_scan = make_scanner(json.JSONDecoder(strict=False, parse_int=str, parse_float=str, parse_constant=str))  # type: ignore[arg-type]
_skip = WHITESPACE.match

Fields = dict[str, Any]


class Event(NamedTuple):
    """One alert or incident. `version`: its update time, Microsoft's own text; `ticks`: the same as a number."""

    ticks: int
    id: str
    version: str
    raw: bytes


class Page(NamedTuple):
    """`rows`: (raw bytes, fields as the scanner read them). `total`: what $count said, if it was asked."""

    rows: list[tuple[bytes, Fields]]
    next_link: str | None = None
    total: int | None = None


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


def parse_page(body: bytes, place: str, first_line: Callable[[bytes], str]) -> Page:
    """The rows of `{"value": [...]}`, of a bare array, or of a lone object. TransportError where it is no such JSON."""
    offset = len(_BOM) if body.startswith(_BOM) else 0
    text = body.decode("latin-1")
    try:
        page = _parse(body, text, _skip(text, offset).end())
    except (ValueError, StopIteration, IndexError, RecursionError):
        line = first_line(body)
        begins = f"; it begins: {line}" if line else " (it is empty)"
        raise TransportError(
            f"{place} answered with something that is not JSON{begins}",
            "A proxy's sign-in page or a cut-off answer looks like this: check proxy, host and api_url; run again.",
            code="network.not_json",
        ) from None
    if page is None:
        raise TransportError(
            f"{place} answered with JSON that holds no list of alerts; it begins: {first_line(body)}",
            "Check host, api and api_url: another service seems to answer there.",
            code="network.no_list",
        )
    return page


def _parse(body: bytes, text: str, start: int) -> Page | None:
    if text[start] == "[":
        rows, end = _array(body, text, start)
        _expect_end(text, end)
        return Page(rows)
    if text[start] == "{":
        return _object(body, text, start)
    # JSON of another kind, or (ValueError, StopIteration) none at all, such as a page of HTML.
    _expect_end(text, _scan(text, start)[1])
    return None


def _expect_end(text: str, end: int) -> None:
    if _skip(text, end).end() != len(text):
        raise ValueError("text after the end")


def _object(body: bytes, text: str, start: int) -> Page | None:
    """The members one by one, so that the array is walked where it stands and not built as a whole."""
    rows: list[tuple[bytes, Fields]] | None = None
    others: Fields = {}
    end = _skip(text, start + 1).end()
    while text[end] != "}":
        if text[end] != '"':
            raise ValueError("a member's name is missing")
        name, end = scanstring(text, end + 1, False)
        end = _skip(text, end).end()
        if text[end] != ":":
            raise ValueError("a colon is missing")
        end = _skip(text, end + 1).end()
        if name == "value" and text[end] == "[" and rows is None:
            rows, end = _array(body, text, end)
        else:
            others[name], end = _scan(text, end)
        end = _skip(text, end).end()
        if text[end] == ",":
            end = _skip(text, end + 1).end()
        elif text[end] != "}":
            raise ValueError("a comma is missing")
    _expect_end(text, end + 1)
    if rows is None:
        # The alert exporter's oldest samples show one object without brackets.
        return Page([(body[start : end + 1], others)]) if "AlertId" in others else None
    link, total = others.get("@odata.nextLink"), others.get("@odata.count")
    return Page(rows, link or None, int(total) if total is not None else None)


def _array(body: bytes, text: str, start: int) -> tuple[list[tuple[bytes, Fields]], int]:
    rows: list[tuple[bytes, Fields]] = []
    end = _skip(text, start + 1).end()
    if text[end] == "]":
        return rows, end + 1
    while True:
        begin = end
        if text[begin] != "{":
            raise ValueError("a row is no object")
        fields, end = _scan(text, begin)
        rows.append((body[begin:end], fields))
        mark = text[end]
        if mark not in ",]":
            end = _skip(text, end).end()
            mark = text[end]
        if mark == "]":
            return rows, end + 1
        if mark != ",":
            raise ValueError("a comma is missing")
        end += 1
        if text[end] != "{":
            end = _skip(text, end).end()
