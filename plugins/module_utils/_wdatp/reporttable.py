# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A report as a table for terminals.

The texts in an alert can be an attacker's. Nothing in them may steer a terminal, lead the eye astray, or break the
table's lines.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

# How many columns the table needs at least.
NARROWEST = 60
# What marks the end of a text that is longer.
_MORE = "\u2026"
# Letters and signs that look like nothing: fillers of Hangul, the empty pattern of Braille.
_INVISIBLE = "\u115f\u1160\u2800\u3164\uffa0"
# A letter has a few marks in any language; with very many it covers its neighbours.
_MOST_MARKS = 2
_ADDRESS = re.compile(r"[\d.]+")
_LEVELS = {"informational": "info"}


def harmless(text: str) -> str:
    """The text on one line, without what is no visible letter, digit, sign or blank: that becomes a question mark."""
    if text.isascii() and text.isprintable():
        return text
    found: list[str] = []
    marks = 0
    for letter in unicodedata.normalize("NFC", text):
        kind = unicodedata.category(letter)
        marks = marks + 1 if kind[0] == "M" else 0
        if kind == "Zs":
            found.append(" ")
        elif (kind[0] == "M" and found and marks <= _MOST_MARKS and kind != "Me") or (
            kind[0] in "LNPS" and letter not in _INVISIBLE
        ):
            found.append(letter)
        elif kind[0] != "M":
            found.append("?")
    return "".join(found)


def width(text: str) -> int:
    """How many columns a harmless text takes on a terminal (Unicode Standard Annex 11)."""
    return len(text) if text.isascii() else sum(map(_width, text))


def _width(letter: str) -> int:
    if unicodedata.category(letter) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def fitted(text: str, room: int) -> str:
    """A text made harmless, cut or filled up to so many columns."""
    text = harmless(text)
    wide = width(text)
    if wide > room:
        kept, wide = [], 1
        for letter in text:
            wide += _width(letter)
            if wide > room:
                wide -= _width(letter)
                break
            kept.append(letter)
        text = "".join(kept) + _MORE
    return text + " " * (room - wide)


def table(result: Mapping[str, Any], columns: int) -> str:
    """A report in so many columns at most."""
    events = result["events"]
    lines = _rows(events, columns) if events else []
    return "\n".join([*lines, summary(result), window(result), *result["notes"]])


def summary(result: Mapping[str, Any]) -> str:
    """How many events there are, and how serious they are."""
    total = result["total"]
    if not total:
        return "No events"
    counts = ", ".join(f"{count} {harmless(word)}" for word, count in result["counts"].items() if count)
    return f"{total} {'event' if total == 1 else 'events'}: {counts}"


def window(result: Mapping[str, Any]) -> str:
    """Which time the report is about, and whom it asked."""
    since, until = (f"{result[name][:10]} {result[name][11:19]}" for name in ("since", "until"))
    source = "received by this host" if result["source"] == "store" else "asked of the API"
    return f"{since} to {until} UTC, {source}"


def _rows(events: Sequence[Mapping[str, str | None]], columns: int) -> list[str]:
    """The heading and a line for each event. What is the same in all of them, as the day, is left out."""
    whose = {event["organization"] or event["tenant_id"] for event in events}
    days = {str(event["time"])[:10] for event in events}
    layout = [("TIME UTC", 8 if len(days) == 1 else 14), ("SEVERITY", 8), ("STATUS", 10)]
    if len(whose) > 1:
        layout.append(("ORGANIZATION", 16))
    room = columns - sum(size + 1 for _heading, size in layout)
    layout += [("DEVICE / USER", room * 2 // 5), ("TITLE", room - room * 2 // 5 - 1)]
    rows = [[heading for heading, _size in layout]]
    for event in events:
        time = str(event["time"])
        cells = [
            time[11:19] if len(days) == 1 else f"{time[5:10]} {time[11:19]}",
            _LEVELS.get(str(event["severity"]), event["severity"]),
            event["status"] or "-",
            *([event["organization"] or event["tenant_id"]] if len(whose) > 1 else []),
            f"{_host(event['machine'] or '-')} / {event['user'] or '-'}",
            event["title"],
        ]
        rows.append([str(cell) for cell in cells])
    return [" ".join(fitted(cell, size) for cell, (_heading, size) in zip(row, layout)).rstrip() for row in rows]


def _host(machine: str) -> str:
    """A machine's name without its domain."""
    return machine if _ADDRESS.fullmatch(machine) else machine.split(".")[0] or machine
