# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is written for an event: its own bytes on one line, alone or in an envelope."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp.formats import (
    FORMATS,
    RENDER,
    Outgoing,
    one_line,
)
from ansible_collections.secops.defender.plugins.module_utils._wdatp.options import DESTINATION
from hypothesis import given
from hypothesis import strategies as st

ORIGIN: dict[str, Any] = {
    "credential": None,
    "organization": "Müller & Söhne 山",
    "tenant_id": "t",
    "api": "mde_alerts",
}


def batch(*rows: bytes, ids: list[str] | None = None, first: int = 7, **origin: Any) -> Outgoing:
    names = ids or [f"id-{number}" for number in range(len(rows))]
    lines = b"".join(one_line(row) + b"\n" for row in rows)
    return Outgoing(1, len(rows), "2026-11-24T08:00:00.0000000Z", first, {**ORIGIN, **origin}, names, lines)


def test_every_format_that_users_can_type_is_there() -> None:
    (wanted,) = [option for option in DESTINATION if option.name == "format"]
    assert wanted.choices == FORMATS == tuple(RENDER)


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        (b'{"a":1}', b'{"a":1}'),
        (b'{\r\n "a" :\n1}', b'{   "a" : 1}'),
        (b'{"a":"\\r\\n\xe2\x80\xa8\x0b\x85"}', b'{"a":"\\r\\n\xe2\x80\xa8\x0b\x85"}'),
    ],
)
def test_one_line_changes_nothing_but_line_ends_between_tokens(raw: bytes, line: bytes) -> None:
    assert one_line(raw) == line
    assert len(line) == len(raw)


@given(st.dictionaries(st.text(), st.text() | st.floats() | st.none(), max_size=4), st.sampled_from([None, 0, "\r\n "]))
def test_one_line_means_the_same(value: dict[str, Any], indent: Any) -> None:
    raw = json.dumps(value, indent=indent, ensure_ascii=False).encode("utf-8", "surrogatepass")
    line = one_line(raw)
    assert b"\n" not in line
    assert b"\r" not in line
    # repr, as NaN is not equal to itself.
    assert repr(json.loads(line)) == repr(value)


def test_raw_is_the_lines_themselves() -> None:
    one = batch(b'{"n":1E400}', b'{"caf\xe9":"\xff"}')
    assert RENDER["raw"](one) == b'{"n":1E400}\n{"caf\xe9":"\xff"}\n'


def test_an_envelope_is_json_around_the_very_bytes() -> None:
    rows = [b'{"n":1E400,"big":12345678901234567890,"x":"\\u0041\\/"}', b'{ "x" : [ ] }']
    text = RENDER["envelope"](batch(*rows, ids=['quoted "id"', "山\n"]))
    first, second, end = text.split(b"\n")
    assert end == b""
    assert first.endswith(b', "alert": ' + rows[0] + b"}")
    assert second.endswith(b', "alert": ' + rows[1] + b"}")
    found = [json.loads(line)["wdatp"] for line in (first, second)]
    assert found[0] == {
        **ORIGIN,
        "received_at": "2026-11-24T08:00:00.0000000Z",
        "event_id": 'quoted "id"',
        "sequence": 7,
    }
    assert found[1]["event_id"] == "山\n"
    assert found[1]["sequence"] == 8


def test_the_organization_is_readable_in_the_envelope() -> None:
    assert "Müller & Söhne 山".encode() in RENDER["envelope"](batch(b"{}"))


def test_an_alert_of_broken_utf8_keeps_its_bytes_in_the_envelope() -> None:
    assert b'"alert": {"x":"\xff"}}\n' in RENDER["envelope"](batch(b'{"x":"\xff"}'))


@given(st.text(st.characters(exclude_categories=()), max_size=20), st.text(st.characters(exclude_categories=())))
def test_whatever_the_names_are_the_envelope_is_one_line_of_utf8(event_id: str, organization: str) -> None:
    text = RENDER["envelope"](batch(b'{"a":1}', ids=[event_id], organization=organization))
    assert text.count(b"\n") == 1
    value = json.loads(text.decode("utf-8"))
    assert value["wdatp"]["event_id"] == event_id
    assert value["wdatp"]["organization"] == organization
    assert value["alert"] == {"a": 1}
