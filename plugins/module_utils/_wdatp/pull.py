# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pull: the only place that knows the order of steps.

For each tenant: cursor -> window -> walk -> ledger -> one transaction (events, ledger, cursor) -> files. What one
tenant or one destination lacks or breaks holds up no other.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from .ahead import one_ahead
from .asker import ApiAsker
from .client import Client
from .config import Connection, HttpOptions, resolve
from .destinations.registry import destinations_of
from .errors import WdatpError
from .formats import one_line
from .ledger import DUPLICATES, Ledger, Verdict
from .memory import give_large_blocks_back
from .outbox import Outbox
from .page import CONTENT, Event, value_of
from .paging import MOST_BAD_SLICES, BadSlice, Walk
from .pulloptions import PullOptions, page_size_of, pull_options
from .redact import Redactor
from .runtime import Runtime, runtime_of
from .sources.base import Source, Span
from .sources.registry import source_of
from .store import Cursor, Store
from .times import SECOND, format_time, now_ticks
from .transport import Counters, Transport

FIGURES = ("fetched", "new", "updated", "duplicates", "written", "requests", "throttled", "retried", "quarantined")


@dataclass
class Context:
    """What surrounds a run: who may hear of it, and whether it may change anything."""

    redactor: Redactor = field(default_factory=Redactor)
    warn: Callable[[str], None] = lambda text: None
    check_mode: bool = False


@dataclass
class StreamReport:
    """What came of one tenant and one API."""

    tenant_id: str
    organization: str | None
    api: str
    new: int = 0
    updated: int = 0
    duplicates: int = 0
    written: int = 0
    # Events that a real run would have written, in check mode too.
    chosen: int = 0
    complete: bool = False
    quarantined: int = 0
    before: str | None = None
    after: str | None = None
    lag_seconds: int | None = None
    counters: Counters = field(default_factory=Counters)
    error: WdatpError | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "tenant_id": self.tenant_id,
            "organization": self.organization,
            "api": self.api,
            "fetched": self.new + self.updated + self.duplicates,
            "new": self.new,
            "updated": self.updated,
            "duplicates": self.duplicates,
            "written": self.written,
            "complete": self.complete,
            "cursor": {"before": self.before, "after": self.after},
            "lag_seconds": self.lag_seconds,
            "requests": self.counters.requests,
            "throttled": self.counters.throttled,
            "retried": self.counters.retried,
            "quarantined": self.quarantined,
            "error": self.error.to_dict() if self.error else None,
        }


@dataclass
class PullReport:
    """What came of a run."""

    streams: list[StreamReport]
    destinations: list[dict[str, Any]] = field(default_factory=list)
    pending: int = 0
    caught_up: int = 0
    duration_seconds: float = 0.0
    events: list[Any] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """The return values of wdatp_pull_events."""
        each = [stream.to_dict() for stream in self.streams]
        totals = {name: sum(entry[name] for entry in each) for name in FIGURES}
        lags = [entry["lag_seconds"] for entry in each if entry["lag_seconds"] is not None]
        found = {
            "changed": any(stream.chosen for stream in self.streams) or self.caught_up > 0,
            **totals,
            "pending": self.pending,
            "complete": all(stream.complete for stream in self.streams),
            "streams": each,
            "lag_seconds": max(lags, default=None),
            "duration_seconds": round(self.duration_seconds, 3),
            "destinations": self.destinations,
            "events": self.events,
        }
        if len(each) == 1:
            found["cursor"] = each[0]["cursor"]
        return found

    def failure(self) -> WdatpError | None:
        """One error for all that went wrong, which also says what is safe; None where nothing did."""
        wrong = [stream for stream in self.streams if stream.error is not None]
        unwritten = [item for item in self.destinations if item["error"]]
        if not wrong and not unwritten:
            return None
        texts, remedies = [], []
        for stream in wrong:
            name = f"{stream.organization or stream.tenant_id}: " if len(self.streams) > 1 else ""
            texts.append(f"{name}{stream.error.message}")  # type: ignore[union-attr]
            remedies.append(stream.error.remedy)  # type: ignore[union-attr]
        for item in unwritten:
            texts.append(item["error"]["message"])
            remedies.append(item["error"]["remedy"])
        first = wrong[0].error.code if wrong and wrong[0].error else unwritten[0]["error"]["code"]
        return WdatpError(" ".join([*texts, self._safe()]), " ".join(dict.fromkeys(remedies)), code=first)

    def _safe(self) -> str:
        written = sum(stream.written for stream in self.streams)
        text = f"Written and safe in this run: {written} events; the next run goes on from there, nothing is lost."
        return text + (f" Waiting in the outbox: {self.pending} events." if self.pending else "")


def pull(options: Mapping[str, Any], context: Context) -> PullReport:
    """Pulls what the options mean. Errors of a tenant or a destination are in the report; all others are raised."""
    started = time.monotonic()
    give_large_blocks_back()
    wanted = pull_options(options)
    destinations = destinations_of(options.get("destinations"), wanted.state_dir)
    connections = resolve(options)
    source = source_of(connections[0].target.api, wanted.expand, wanted.wanted)
    _say_once(source, wanted, context)
    with Store(wanted.state_dir, read_only=context.check_mode) as store:
        targets = [item.target for item in destinations]
        job = store.job_of(targets)
        if not context.check_mode:
            _forget_others(store, job, targets, context)
        outbox = Outbox(store, job, destinations)
        try:
            runtime = runtime_of(options, context.warn, context.check_mode)
            run = _Run(wanted, context, store, job, outbox, source, started, runtime)
            report = run.all(connections)
        finally:
            outbox.close()
    report.duration_seconds = time.monotonic() - started
    return report


def _say_once(source: Source, wanted: PullOptions, context: Context) -> None:
    _size, warning = page_size_of(wanted.page_size, source)
    if warning:
        context.warn(warning)
    if source.warning:
        context.warn(source.warning)


def _forget_others(store: Store, job: int, targets: list[str], context: Context) -> None:
    for target, lacked in store.forget_others(job, targets):
        if lacked:
            context.warn(
                f"{target} is no destination any more; {lacked} events that waited for it are not written there."
            )


class _Run:
    """One run: its budgets, its files, its results."""

    def __init__(
        self,
        options: PullOptions,
        context: Context,
        store: Store,
        job: int,
        outbox: Outbox,
        source: Source,
        started: float,
        runtime: Runtime,
    ) -> None:
        self.runtime = runtime
        self.options = options
        self.context = context
        self.store = store
        self.job = job
        self.outbox = outbox
        self.source = source
        self.deadline = None if options.max_seconds is None else started + options.max_seconds
        self.events_left = options.max_events
        self.bytes_left = options.max_bytes
        self.returned: deque[bytes] = deque(maxlen=options.return_events)
        self._transports: dict[HttpOptions, Transport] = {}

    def all(self, connections: Sequence[Connection]) -> PullReport:
        report = PullReport([])
        if self.context.check_mode:
            report.caught_up = self.outbox.pending()
        else:
            self.outbox.catch_up()
            report.caught_up = sum(item.written for item in self.outbox.deliveries)
        try:
            for connection in connections:
                report.streams.append(self._stream(connection))
        finally:
            for transport in self._transports.values():
                transport.close()
        if not self.context.check_mode:
            self.outbox.flush()
        report.pending = self.outbox.pending()
        report.destinations = self.outbox.to_list()
        report.events = [value_of(raw) for raw in self.returned]
        return report

    def _transport(self, connection: Connection) -> Transport:
        """One session for all tenants that are reached in the same way."""
        known = self._transports.get(connection.http)
        if known is None:
            known = Transport(connection.http, self.context.warn, self.deadline)
            self._transports[connection.http] = known
        return known

    def _stream(self, connection: Connection) -> StreamReport:
        identity = connection.identity
        report = StreamReport(identity.tenant_id, connection.organization, self.source.name)
        transport = self._transport(connection)
        before = Counters(**vars(transport.counters))
        try:
            _Stream(self, connection, transport, report).pull()
        except WdatpError as error:
            # The store concerns every tenant; all else only this one.
            if error.code.startswith("store."):
                raise
            report.error = error
        counters = transport.counters
        report.counters = Counters(**{name: getattr(counters, name) - value for name, value in vars(before).items()})
        return report

    def take(self, size: int) -> bool:
        """One event of `size` bytes out of the budgets; False where one of them is used up."""
        if (self.events_left is not None and self.events_left <= 0) or (
            self.bytes_left is not None and self.bytes_left <= 0
        ):
            return False
        if self.events_left is not None:
            self.events_left -= 1
        if self.bytes_left is not None:
            self.bytes_left -= size
        return True

    def has_budget(self) -> bool:
        return (
            (self.events_left is None or self.events_left > 0)
            and (self.bytes_left is None or self.bytes_left > 0)
            and (self.deadline is None or time.monotonic() < self.deadline)
        )


class _Stream:
    """One tenant and one API in a run."""

    def __init__(self, run: _Run, connection: Connection, transport: Transport, report: StreamReport) -> None:
        self.run = run
        self.options = run.options
        self.report = report
        self.transport = transport
        self.client = Client(connection, run.source, transport, run.context.redactor, run.runtime)
        self.origin = {
            "credential": connection.credential,
            "organization": connection.organization,
            "tenant_id": connection.identity.tenant_id,
            "api": run.source.name,
        }
        # Entra ID's answer also tells Microsoft's time, by which the window is computed; and the tenant's id, by which
        # the stream goes: a domain name is the same tenant.
        token = self.client.auth.token()
        self.number = run.store.stream(run.job, token.tenant_id or connection.identity.tenant_id, run.source.name)
        self.filter_key = run.source.filter_key
        self.cursor = run.store.cursor(self.number, self.filter_key)
        self.ledger = Ledger(lambda ids: run.store.known(self.number, ids), run.options.updates, run.source.time_field)
        self.moves_cursor = True
        self.lateness = run.store.lateness(self.number)
        # Events behind this moment that are not known yet came late; None: nothing can be learned of them.
        self.late_behind = self.cursor.ticks if self.cursor and run.options.since is None else None

    def pull(self) -> None:
        run, report = self.run, self.report
        report.before = report.after = self.cursor.value if self.cursor else None
        window = self._window(self.transport.server_now())
        began = now_ticks()
        try:
            is_mended = self._retry_quarantined()
            walk = self._walk(window, avoid=[Span(*span) for span in self._quarantined()])
            drained = run.has_budget() and self._drain(walk)
            report.complete = drained and is_mended and not walk.is_partial and not walk.bad_slices
        finally:
            report.quarantined = len(self._quarantined())
            report.after = self.cursor.value if self.cursor else None
            report.lag_seconds = self._lag(began)

    def _walk(self, window: Span, avoid: Sequence[Span] = ()) -> Walk:
        size, _warning = page_size_of(self.options.page_size, self.run.source)
        return Walk(self.run.source, ApiAsker(self.client, self.run.source), window, size, avoid)

    def _quarantined(self) -> list[tuple[int, int]]:
        return self.run.store.quarantined(self.number, self.filter_key)

    def _retry_quarantined(self) -> bool:
        """What earlier runs could not read, once more and without waiting; False where something still can't be."""
        spans = self._quarantined()
        mended = [span for span in spans[:MOST_BAD_SLICES] if self._is_readable(Span(*span))]
        return len(mended) == len(spans)

    def _is_readable(self, span: Span) -> bool:
        walk = self._walk(span)
        walk.asker.is_patient = False
        if not self.run.has_budget() or not self._drain(walk, moves_cursor=False) or walk.bad_slices:
            return False
        if not self.run.context.check_mode:
            with self.run.store.transaction():
                self.run.store.release(self.number, self.filter_key, span.low)
        return True

    def _drain(self, walk: Walk, moves_cursor: bool = True) -> bool:
        """Every batch of the walk; False where a budget ended before it."""
        with closing(one_ahead(walk)) as batches:
            for batch in batches:
                if batch.bad:
                    self._set_aside(batch.bad)
                if not self._keep(batch.events, batch.moves_cursor and moves_cursor):
                    return False
                # Time ends a run only behind what was known: else one that can just read that would never get on.
                if not self.run.has_budget() and (self.report.new or self.report.updated):
                    return False
                # Or they would stay in memory while the next batch is waited for.
                batch.events.clear()
        return True

    def _window(self, now: int) -> Span:
        options = self.options
        since, until = options.window(now)
        if since is None:
            start = (
                now - options.initial_lookback
                if self.cursor is None
                else self.cursor.ticks - options.overlap_for(self.lateness)
            )
            return Span(max(0, start), until)
        # A window behind a gap must not carry the cursor over it.
        self.moves_cursor = self.cursor is None or since <= self.cursor.ticks
        return Span(since, until)

    def _lag(self, began: int) -> int | None:
        """Seconds that this stream is behind Microsoft's time: how old the moment is up to which all was fetched."""
        if self.report.complete and self.options.until is None:
            return max(0, (now_ticks() - began) // SECOND)
        if self.cursor is None:
            return None
        return max(0, (self.transport.server_now() - self.cursor.ticks) // SECOND)

    def _set_aside(self, bad: BadSlice) -> None:
        """Notes what can't be read before anything behind it is kept."""
        moment = format_time(bad.span.low)
        self.run.context.warn(
            f"{self.report.organization or self.report.tenant_id}: the alerts of {moment} can't be read and were put"
            f" aside; each run tries them again. {bad.error.message}"
        )
        if self.run.context.check_mode:
            return
        store, key = self.run.store, self.filter_key
        span, why = (bad.span.low, bad.span.high or bad.span.low), (bad.error.code, bad.error.message)
        with store.transaction():
            store.quarantine(self.number, key, span, format_time(now_ticks()), why)

    # --- a batch ---------------------------------------------------------------------------------------------------

    def _keep(self, events: list[Event], moves_cursor: bool) -> bool:
        """A batch into the store and the files. False where a budget ended within it."""
        verdicts, is_whole = self._within_budget(events)
        chosen = [verdict.event for verdict in verdicts if verdict.is_written]
        cursor = self._next_cursor(verdicts) if moves_cursor and self.moves_cursor else self.cursor
        if not self.run.context.check_mode:
            self._commit(verdicts, chosen, cursor, self._later(verdicts) if moves_cursor else 0)
            self.cursor = cursor
        for verdict in verdicts:
            setattr(self.report, verdict.kind, getattr(self.report, verdict.kind) + 1)
        self.report.chosen += len(chosen)
        self.run.returned.extend(event.raw for event in chosen[-self.options.return_events or len(chosen) :])
        return is_whole

    def _within_budget(self, events: list[Event]) -> tuple[list[Verdict], bool]:
        """The verdicts up to where a budget of events or bytes ends (time is looked at between batches)."""
        run = self.run
        taken: list[Verdict] = []
        for verdict in self.ledger.judge(events):
            if verdict.is_written and not run.take(len(verdict.event.raw)):
                return taken, False
            taken.append(verdict)
        return taken, True

    def _next_cursor(self, verdicts: list[Verdict]) -> Cursor | None:
        """The newest time that was reached, in Microsoft's own text; never back."""
        for verdict in reversed(verdicts):
            event = verdict.event
            if not event.version.startswith(CONTENT):
                is_further = self.cursor is None or event.ticks > self.cursor.ticks
                return Cursor(event.version, event.ticks) if is_further else self.cursor
        return self.cursor

    def _later(self, verdicts: list[Verdict]) -> int:
        """How late (ticks) the latest of these events is, where it is later than any before; else 0."""
        if self.late_behind is None:
            return 0
        behind = self.late_behind
        late = max((behind - item.event.ticks for item in verdicts if item.kind != DUPLICATES), default=0)
        return late if late > self.lateness else 0

    def _commit(self, verdicts: list[Verdict], chosen: list[Event], cursor: Cursor | None, lateness: int) -> None:
        store, outbox = self.run.store, self.run.outbox
        entries = [verdict.entry for verdict in verdicts if verdict.kind != DUPLICATES]
        batch = None
        with store.transaction():
            store.remember(self.number, entries)
            if chosen:
                lines = b"\n".join([*(one_line(event.raw) for event in chosen), b""])
                ids = [event.id for event in chosen]
                batch = store.put_batch(self.run.job, format_time(now_ticks()), self.origin, ids, lines)
                outbox.intend(batch.id)
            if cursor is not None:
                store.set_cursor(self.number, self.filter_key, cursor)
            if lateness:
                store.set_lateness(self.number, lateness)
                self.lateness = lateness
        if batch is not None:
            outbox.deliver(batch)
            self.report.written += batch.size if outbox.has_all(batch.id) else 0
