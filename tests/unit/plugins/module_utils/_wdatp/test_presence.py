# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Alerts are found again in files, whatever else stands in there."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp.formats import RENDER, Outgoing, alert_in
from ansible_collections.secops.defender.plugins.module_utils._wdatp.page import parse_page
from ansible_collections.secops.defender.plugins.module_utils._wdatp.presence import (
    Marks,
    Stretch,
    alerts_in,
    alerts_of,
    in_chunks,
    mark_of,
    rotated,
)
from ansible_collections.secops.defender.plugins.module_utils._wdatp.sources.registry import SOURCES
from hypothesis import given
from hypothesis import strategies as st

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=6,
)
TIMES = st.sampled_from(["2026-11-24T08:00:00Z", "2026-11-24T08:00:00.1234567Z", "", "never", None, 7])


def row_of(api: str, identity: Any, moment: Any, more: Any, spaced: bool) -> bytes:
    """A row as an API may send it, on several lines too."""
    source = SOURCES[api]
    names = ("FullId",) if api == "alert_exporter" else ("id",)
    row = {"more": more, names[0]: identity, source.time_field: moment}
    return json.dumps(row, ensure_ascii=True, indent=1 if spaced else None).encode()


def event_of(api: str, raw: bytes) -> Any:
    source = SOURCES[api]()
    (event,) = parse_page(b"[" + raw + b"]", "here", repr, source.event).events  # type: ignore[arg-type]
    return event


@given(
    api=st.sampled_from(sorted(SOURCES)),
    rows=st.lists(st.tuples(ANY_TEXT | st.integers(), TIMES, JSON, st.booleans()), min_size=1, max_size=4),
    text_format=st.sampled_from(sorted(RENDER)),
    organization=ANY_TEXT,
)
def test_what_was_written_is_found_again(
    api: str, rows: list[tuple[Any, Any, Any, bool]], text_format: str, organization: str
) -> None:
    """Whatever the alert and the names in the envelope hold, `}, "alert": ` among it."""
    events = [event_of(api, row_of(api, *row)) for row in rows]
    origin = {"credential": '}, "alert": ', "organization": organization, "tenant_id": "t", "api": api}
    lines = b"".join(event.raw.replace(b"\n", b" ") + b"\n" for event in events)
    batch = Outgoing(1, len(events), "now", 40, origin, [event.id for event in events], lines)
    written = RENDER[text_format](batch).split(b"\n")[:-1]
    found = list(alerts_of(written))
    assert [alert.text + b"\n" for alert in found] == lines.splitlines(keepends=True)
    assert all(mark_of(api, event) in alert.marks for event, alert in zip(events, found))
    if text_format == "envelope":
        assert [alert.sequence for alert in found] == list(range(40, 40 + len(events)))
        assert all(len(alert.marks) == 1 for alert in found)


@given(st.lists(st.binary(max_size=60) | ANY_TEXT.map(lambda text: text.encode("utf-8", "surrogatepass"))))
def test_whatever_stands_in_a_file_breaks_nothing(lines: list[bytes]) -> None:
    for line in lines:
        for text in (line, b'{"wdatp": {' + line + b'}, "alert": {}}'):
            assert alert_in(text)[0] in text
    # What is no JSON object of its own is passed over, and only that.
    good = b'{"id":"a","lastUpdateDateTime":"2026-11-24T08:00:00Z"}'
    mixed = [item for line in lines for item in (line.replace(b"\n", b""), good)]
    assert [alert.text for alert in alerts_of(mixed)].count(good) >= len(lines)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_packed_files_are_read(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    ending = {bytes: "", gzip.compress: ".gz", bz2.compress: ".bz2", lzma.compress: ".xz"}[pack]
    path = tmp_path / f"alerts.jsonl.1{ending}"
    path.write_bytes(pack(b"".join(b'{"id":"%d"}\n' % number for number in range(2500)) + b'{"id":"torn'))
    chunks = list(in_chunks(alerts_in(Stretch(str(path), 0))))
    assert [len(chunk) for chunk in chunks] == [1000, 1000, 500]


def test_file_is_read_from_a_position_on(tmp_path: Path) -> None:
    path = tmp_path / "alerts.jsonl"
    path.write_bytes(b'{"id":"a"}\n{"id":"b"}\n')
    assert [alert.text for alert in alerts_in(Stretch(str(path), 11))] == [b'{"id":"b"}']


def test_names_of_rotated_files(tmp_path: Path) -> None:
    mine = ["alerts.jsonl.1", "alerts.jsonl.2.gz", "alerts.jsonl-20261125", "alerts-20261125.jsonl.gz"]
    others = [
        "alerts-high.jsonl",
        "alerts.jsonl.bak",
        "alerts.json",
        "1.alerts.jsonl",
        "alerts.jsonl.gz",
        "alerts.jsonl",
    ]
    for number, name in enumerate([*mine, *others]):
        (tmp_path / name).write_bytes(b"")
        os.utime(tmp_path / name, (1000 - number, 1000 - number))
    (tmp_path / "alerts.jsonl.3").mkdir()
    assert rotated(str(tmp_path / "alerts.jsonl")) == [str(tmp_path / name) for name in reversed(mine)]
    assert rotated(str(tmp_path / "missing" / "alerts.jsonl")) == []


def test_marks_of_one_file_are_not_those_of_another() -> None:
    marks = Marks()
    marks.add(0, [1, 2, 2])
    marks.add(1, [2])
    assert marks.found(0, [1, 2, 3]) == {1, 2}
    assert marks.found(1, list(range(5000))) == {2}
    marks.close()
