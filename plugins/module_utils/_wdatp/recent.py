# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The newest events of a window, for people and lookups: asks the API, moves no cursor, writes nothing."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from .asker import ApiAsker
from .client import Client
from .config import Connection, resolve
from .errors import OptionError
from .page import Event, value_of
from .paging import Key, Walk, key_of
from .pull import Context
from .pulloptions import wanted_of
from .runtime import Runtime, runtime_of
from .sources.base import Source, Span
from .sources.registry import source_of
from .times import now_ticks, parse_moment
from .transport import Transport


def recent(queries: Sequence[Mapping[str, Any]], context: Context) -> list[dict[str, Any]]:
    """The newest events of all tenants that the queries mean, newest first.

    `queries`: option values; `limit` and `max_bytes` of the first hold for all together. WdatpError for whatever is in
    the way: a part is never returned as if it were all.
    """
    limit, max_bytes = check_limit(queries[0]["limit"]), queries[0]["max_bytes"]
    for options in queries:
        window_of(options, now_ticks())
    asked = [(options, connection) for options in queries for connection in resolve(options)]
    runtime = runtime_of(queries[0], context.warn, context.check_mode)
    found: list[Event] = []
    for options, connection in asked:
        with _asking(options, connection, context, runtime) as (asker, source, window):
            found = _newest([*found, *_events(asker, source, window, limit)], limit)
    return [value_of(event.raw) for event in _within(found, max_bytes)]


def events_of(queries: Sequence[Mapping[str, Any]], context: Context) -> Iterator[tuple[Connection, Event]]:
    """All events of all tenants that the queries mean, in no order, a page of them in memory. Otherwise as recent."""
    asked = [(options, connection) for options in queries for connection in resolve(options)]
    runtime = runtime_of(queries[0], context.warn, context.check_mode)
    for options, connection in asked:
        with _asking(options, connection, context, runtime) as (asker, source, window):
            for event in _walked(asker, source, window):
                yield connection, event


@contextmanager
def _asking(
    options: Mapping[str, Any], connection: Connection, context: Context, runtime: Runtime
) -> Iterator[tuple[ApiAsker, Source, Span]]:
    """Who asks a tenant's API, which that is, and the window by Microsoft's clock."""
    source = source_of(connection.target.api, options["expand"], wanted_of(options))
    if source.warning:
        context.warn(source.warning)
    transport = Transport(connection.http, context.warn)
    try:
        client = Client(connection, source, transport, context.redactor, runtime)
        # Entra ID's answer tells Microsoft's time.
        client.auth.token()
        yield ApiAsker(client, source), source, window_of(options, transport.server_now())
    finally:
        transport.close()


def check_limit(limit: int) -> int:
    """OptionError where it is too small."""
    if limit < 1:
        raise OptionError(f"limit: {limit} is too small.", "Give at least 1.")
    return limit


def window_of(options: Mapping[str, Any], now: int) -> Span:
    """From `since` to `until`, which may be back from `now` (ticks). OptionError where they make no sense."""
    until = options.get("until")
    span = Span(parse_moment(options["since"], now, "since"), parse_moment(until, now, "until") if until else None)
    if span.high is not None and span.low >= span.high:
        raise OptionError(f"since ({options['since']}) is not before until ({until}).", "Swap them.")
    return span


def _newest(events: Iterable[Event], limit: int) -> list[Event]:
    return heapq.nlargest(limit, events, key=lambda event: event.ticks)


def _within(events: list[Event], max_bytes: int) -> list[Event]:
    """The first events that fit together."""
    for number, event in enumerate(events):
        max_bytes -= len(event.raw)
        if max_bytes < 0:
            return events[:number]
    return events


def _events(asker: ApiAsker, source: Source, window: Span, limit: int) -> list[Event]:
    """Newest first from the API itself, where it keeps to that order; else the newest of all in the window."""
    found: dict[Key, Event] = {}
    span, top = window, min(limit, source.page_limit)
    while len(found) < limit:
        answer = asker.newest(span, top)
        fresh = [event for event in answer.events if key_of(event) not in found]
        if not fresh and not answer.next_link and answer.rows < top:
            return list(found.values())
        if not fresh or not _is_newest_first(answer.events, span, source):
            return _all(asker, source, window, limit)
        found.update((key_of(event), event) for event in fresh)
        span = Span(window.low, min(event.ticks for event in answer.events))
    return list(found.values())


def _is_newest_first(events: list[Event], span: Span, source: Source) -> bool:
    ticks = [event.ticks for event in events]
    if any(moment < span.low or (span.high is not None and moment > span.high + source.grain) for moment in ticks):
        return False
    # Where the order is not promised, the newest are what the API keeps all the same (its `limit`).
    return source.keeps_newest or all(first >= second for first, second in zip(ticks, ticks[1:]))


def _all(asker: ApiAsker, source: Source, window: Span, limit: int) -> list[Event]:
    return _newest(_walked(asker, source, window), limit)


def _walked(asker: ApiAsker, source: Source, window: Span) -> Iterator[Event]:
    """Every event of a window, oldest first. WdatpError where one can't be read: a part is never taken for all."""
    for batch in Walk(source, asker, window, source.page_default):
        if batch.bad:
            raise batch.bad.error
        yield from batch.events
