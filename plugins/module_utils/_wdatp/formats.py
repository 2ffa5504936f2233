# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is written for an event: its raw JSON text on one line, or an envelope around it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import NamedTuple

FORMATS = ("raw", "envelope")
# In place of an API: what the batch holds is no alert (see heartbeat.py).
HEARTBEAT = "heartbeat"
# What an envelope's line begins with, and what stands before the alert.
_ENVELOPE, _ALERT = b'{"wdatp": {', b'}, "alert": '


class Outgoing(NamedTuple):
    """A batch of events on its way to the destinations, as the outbox keeps it."""

    id: int
    # how many events
    size: int
    # RFC 3339, of this host
    received_at: str
    # The first event's place in the order of all events of this store.
    first_sequence: int
    # credential, organization, tenant_id, api
    origin: dict[str, str | None]
    ids: list[str]
    # Each event on a line of its own, with its line end.
    lines: bytes


def one_line(raw: bytes) -> bytes:
    """The JSON text on one line. Line ends stand only between tokens (RFC 8259, section 7), so a blank does as well."""
    if b"\n" in raw or b"\r" in raw:
        raw = raw.replace(b"\r", b" ").replace(b"\n", b" ")
    return raw


def _raw(batch: Outgoing) -> bytes:
    return batch.lines


def _envelope(batch: Outgoing) -> bytes:
    if batch.origin["api"] == HEARTBEAT:
        return batch.lines
    common = _text({**batch.origin, "received_at": batch.received_at})[1:-1]
    found = []
    for number, (event_id, line) in enumerate(zip(batch.ids, batch.lines.split(b"\n"))):
        own = b'"event_id": %b, "sequence": %d' % (_text(event_id), batch.first_sequence + number)
        found.append(b"%b%b, %b%b%b}\n" % (_ENVELOPE, common, own, _ALERT, line))
    return b"".join(found)


def _text(value: object) -> bytes:
    """JSON in UTF-8; in ASCII where UTF-8 can't hold it, as half of a surrogate pair."""
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value).encode()


def alert_in(line: bytes) -> tuple[bytes, str | None, int]:
    """(the alert's own text, its API, its sequence number) in a line of a file, whatever format that was written in.

    Without an envelope nobody knows the API, and the number is 0.
    """
    # Inside the envelope's texts every quotation mark is escaped, so this can't stand in one of them.
    end = line.find(_ALERT) if line.startswith(_ENVELOPE) else -1
    if end < 0:
        return line, None, 0
    try:
        about = json.loads(line[len(_ENVELOPE) - 1 : end + 1])
        return line[end + len(_ALERT) : -1], str(about["api"]), int(about["sequence"])
    except (ValueError, KeyError, TypeError):
        return line, None, 0


RENDER: dict[str, Callable[[Outgoing], bytes]] = {"raw": _raw, "envelope": _envelope}
