# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON text written once as a byte template, and then filled in for each alert.

The body of an alert is never passed through json.dumps while it is served: that would be slow, and it could not
write what real tenants send (1E400, 0.1000, an escaped slash).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from operator import itemgetter
from typing import Any


class Raw:
    """JSON text that goes into the output as it is."""

    def __init__(self, text: str) -> None:
        self.text = text


class Slot:
    """A place that is filled for each alert. The value is JSON text, or, inside Text, an escaped piece of a string."""

    def __init__(self, name: str) -> None:
        self.name = name


class Text:
    """A JSON string put together from plain strings, Raw pieces and slots."""

    def __init__(self, *parts: str | Raw | Slot) -> None:
        self.parts = parts


def quoted(name: str) -> Text:
    return Text(Slot(name))


def escape(text: str, ascii_only: bool = False) -> bytes:
    """The inside of a JSON string, without its quotation marks."""
    return json.dumps(text, ensure_ascii=ascii_only)[1:-1].encode()


class Template:
    """A compiled template: bytes with one %b for each slot."""

    def __init__(self, form: bytes, names: list[str]) -> None:
        self.form = form
        self.names = names
        # itemgetter returns a bare value for a single name; a second, unused one keeps it a tuple.
        self._pick = itemgetter(*names) if len(names) > 1 else None

    def fill(self, values: Mapping[str, bytes]) -> bytes:
        if self._pick is not None:
            filled: bytes = self.form % self._pick(values)
            return filled
        return self.form % tuple(values[name] for name in self.names)

    def size(self, values: Mapping[str, bytes]) -> int:
        return len(self.fill(values))


# How the JSON is laid out: name -> (after a comma, after a colon, after an opening bracket, before a closing one)
LAYOUTS = {
    "compact": ("", "", "", ""),
    "spaces": (" ", " ", " ", " "),
    "lines": ("\r\n  ", " ", "\r\n  ", "\r\n"),
}


class _Writer:
    def __init__(self, layout: str) -> None:
        self.out: list[bytes] = []
        self.names: list[str] = []
        self.comma, self.colon, self.open, self.close = (part.encode() for part in LAYOUTS[layout])

    def literal(self, text: bytes) -> None:
        self.out.append(text.replace(b"%", b"%%"))

    def slot(self, slot: Slot) -> None:
        self.out.append(b"%b")
        self.names.append(slot.name)

    def write(self, value: Any) -> None:
        if isinstance(value, Slot):
            self.slot(value)
        elif isinstance(value, Raw):
            self.literal(value.text.encode())
        elif isinstance(value, Text):
            self.text(value)
        elif isinstance(value, dict):
            self.items(b"{", b"}", [(escape(key), item) for key, item in value.items()])
        elif isinstance(value, (list, tuple)):
            self.items(b"[", b"]", [(None, item) for item in value])
        else:
            self.literal(json.dumps(value, ensure_ascii=False).encode())

    def text(self, text: Text) -> None:
        self.literal(b'"')
        for part in text.parts:
            if isinstance(part, Slot):
                self.slot(part)
            elif isinstance(part, Raw):
                self.literal(part.text.encode())
            else:
                self.literal(escape(part))
        self.literal(b'"')

    def items(self, opening: bytes, closing: bytes, items: list[tuple[bytes | None, Any]]) -> None:
        self.literal(opening)
        if items:
            self.literal(self.open)
        for position, (key, item) in enumerate(items):
            if position:
                self.literal(b"," + self.comma)
            if key is not None:
                self.literal(b'"' + key + b'":' + self.colon)
            self.write(item)
        if items:
            self.literal(self.close)
        self.literal(closing)


def compile_template(value: Any, layout: str = "compact") -> Template:
    writer = _Writer(layout)
    writer.write(value)
    return Template(b"".join(writer.out), writer.names)
