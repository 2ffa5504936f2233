# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pull: the only place that knows the order of steps.

For each tenant: cursor -> window -> walk -> ledger -> one transaction (events, ledger, cursor) -> files; at the end a
line of the manifest. What one tenant or one destination lacks or breaks holds up no other.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

from .ahead import one_ahead
from .asker import ApiAsker
from .certificates import expiry_words
from .client import Client
from .config import Connection, HttpOptions
from .crew import in_parallel
from .destinations.file import FileDestination
from .destinations.registry import destinations_of
from .errors import ApiError, JobError, WdatpError
from .files import put_in_place
from .formats import Outgoing, one_line
from .health import Health
from .heartbeat import beat
from .holdings import NOWHERE, Holdings, Targets
from .jobs import Job, options_of_run
from .journal import Journal
from .ledger import DUPLICATES, Ledger, Verdict
from .manifest import Checker, Manifest, batches_of, by_stream, piece_of, read_chain
from .memory import give_large_blocks_back
from .metrics import prometheus
from .moving import check_here
from .outbox import Delivery, Outbox
from .outcome import PullReport, Reconciled, StreamReport
from .page import CONTENT, Event, value_of
from .paging import MOST_BAD_SLICES, BadSlice, Walk
from .plan import Planned, plan
from .presence import rotated
from .pulloptions import PullOptions, page_size_of, pull_options
from .redact import Redactor
from .runtime import Runtime, runtime_of
from .sources.base import Source, Span
from .sources.registry import source_of
from .status import job_infos
from .store import Cursor, Store
from .times import DAY, SECOND, format_time, now_ticks
from .transport import Counters, Transport


@dataclass
class Context:
    """What surrounds a run: who may hear of it, and whether it may change anything.

    `progress`: hears of each stream that has ended: (the stream, how many have ended, how many there are).
    `insists`: a person is waiting, so streams that fail are not held back for a while.
    """

    redactor: Redactor = field(default_factory=Redactor)
    warn: Callable[[str], None] = lambda text: None
    check_mode: bool = False
    progress: Callable[[StreamReport, int, int], None] = lambda stream, ended, streams: None
    insists: bool = True


def pull(options: Mapping[str, Any], context: Context) -> PullReport:
    """Pulls what the options mean. Errors of a tenant or a destination are in the report; all others are raised."""
    started = time.monotonic()
    give_large_blocks_back()
    options = options_of_run(options)
    wanted = pull_options(options)
    destinations = destinations_of(options.get("destinations"), wanted.state_dir)
    planned = plan(options)
    sources = {item.api: source_of(item.api, wanted.expand, wanted.wanted) for item in planned if not item.error}
    for source in sources.values():
        _say_once(source, wanted, context)
    is_dry = context.check_mode or wanted.reconcile == "report"
    place = Job(options["job"]).state_dir(wanted.state_dir) if options.get("job") else wanted.state_dir
    with Store(place, is_dry, rebuild=wanted.reconcile == "fill", files_below=wanted.state_dir) as store:
        if store.set_aside:
            context.warn(f"The store was corrupt and is kept as {store.set_aside}; a new one was made.")
        targets = [item.target for item in destinations]
        job = store.job_of(targets)
        if not is_dry:
            _deliver_what_is_left(store, job, destinations, wanted)
            _forget_others(store, job, targets, context)
        outbox = Outbox(store, job, destinations)
        runtime = runtime_of(options, context.warn, context.check_mode)
        run = _Run(wanted, context, store, job, outbox, sources, started, runtime)
        try:
            report = run.all(planned)
        finally:
            run.close()
    if options.get("metrics_path") and not is_dry:
        _tell_prometheus(options, context)
    return report


def _tell_prometheus(options: Mapping[str, Any], context: Context) -> None:
    path = options["metrics_path"]
    try:
        put_in_place(path, prometheus(job_infos(options["config_dir"], options["state_dir"], options["job"])), 0o644)
    except OSError as error:
        context.warn(f"The metrics can't be written to {path}: {error.strerror}.")


def _say_once(source: Source, wanted: PullOptions, context: Context) -> None:
    _size, warning = page_size_of(wanted.page_size, source)
    if warning:
        context.warn(warning)
    if source.warning:
        context.warn(source.warning)


def _deliver_what_is_left(store: Store, job: int, destinations: Sequence[FileDestination], wanted: PullOptions) -> None:
    """What waits for these destinations from the time when they were in another company."""
    for item in destinations:
        for other in store.jobs_left(job, item.target):
            left = Outbox(store, other, [item])
            left.catch_up(Holdings(store, left, _oldest(wanted)).look)
            item.close()


def _oldest(wanted: PullOptions) -> float:
    """Files that were not changed since then (seconds since 1970) hold nothing that is asked for."""
    now = now_ticks()
    since, _until = wanted.window(now)
    # A file's time is its host's, a window's is Microsoft's.
    return max(0, (now - wanted.initial_lookback if since is None else since) - DAY) / SECOND


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
        sources: Mapping[str, Source],
        started: float,
        runtime: Runtime,
    ) -> None:
        self.runtime = runtime
        self.options = options
        self.context = context
        self.store = store
        self.job = job
        self.outbox = outbox
        self.sources = sources
        self.started = started
        self.deadline = None if options.max_seconds is None else started + options.max_seconds
        self.events_left = options.max_events
        self.bytes_left = options.max_bytes
        self.returned: deque[bytes] = deque(maxlen=options.return_events)
        # Nothing is written and nothing moved.
        self.is_dry = store.read_only
        self.is_reconciling = options.reconcile != "no"
        self.holdings = Holdings(store, outbox, _oldest(options), self.is_reconciling, context.warn)
        self.manifest = Manifest(store)
        self.journal = Journal(store)
        # Since 1970, by Microsoft's clock; 0 until it has told.
        self.today = 0
        self._checkers: dict[str, Checker] = {}
        self._said: set[str] = set()
        self.health = Health(store, job, context.insists) if options.job else None
        self._claimed: set[int] = set()
        # Sessions that are not in use, by how they talk.
        self._idle: dict[HttpOptions, list[Transport]] = {}

    def close(self) -> None:
        for transports in self._idle.values():
            for transport in transports:
                transport.close()
        self.holdings.close()
        self.outbox.close()

    def all(self, planned: Sequence[Planned]) -> PullReport:
        report = PullReport([], manifest={"path": self.manifest.path})
        if self.is_dry:
            for item in self.outbox.deliveries:
                self.holdings.look(item)
            report.caught_up = self.outbox.pending() if self.context.check_mode else 0
        else:
            self._with_manifest(self.manifest.settle)
            self.outbox.catch_up(self.holdings.look)
            report.caught_up = sum(item.written for item in self.outbox.deliveries)
        if self.is_reconciling:
            self._read_manifest(report)
            self.holdings.read_all(self._feed)
        report.streams = self._streams(planned)
        if not self.is_dry:
            with self.store.transaction():
                self.journal.prune(self.today)
            if self.options.heartbeat:
                self._beat(report)
            self.outbox.flush()
            entry = self._entry(report)
            self._with_manifest(lambda: report.manifest.update(self.manifest.append(self.job, entry)))
        report.pending = self.outbox.pending()
        report.destinations = self.outbox.to_list()
        report.events = [value_of(raw) for raw in self.returned]
        if self.is_reconciling:
            self._check_manifest(report)
        report.duration_seconds = time.monotonic() - self.started
        if self.health is not None and not self.is_dry:
            self.health.end(report)
        return report

    def _beat(self, report: PullReport) -> None:
        report.pending = self.outbox.pending()
        report.duration_seconds = time.monotonic() - self.started
        with self.store.transaction():
            batch = beat(self.store, self.job, self.options.job, report)
            self.outbox.intend(batch.id)
        self.outbox.deliver(batch)

    # --- the manifest ----------------------------------------------------------------------------------------------

    def _with_manifest(self, deed: Callable[[], None]) -> None:
        try:
            deed()
        except OSError as error:
            # The store has the entry; the next run writes it.
            self.context.warn(f"{self.manifest.path} can't be written now: {error.strerror}. The next run catches up.")

    def _entry(self, report: PullReport) -> dict[str, Any]:
        """Streams without anything to tell are only counted: with a thousand tenants most are."""
        pieces = by_stream(self.store.pieces())
        streams = []
        for stream in report.streams:
            own = pieces.get(stream.number, [])
            if own or stream.error or not stream.complete or len(report.streams) == 1:
                streams.append({**stream.for_manifest(), **batches_of(own)})
        quiet = len(report.streams) - len(streams)
        return {"streams": streams, "quiet": quiet}

    def _read_manifest(self, report: PullReport) -> None:
        """Before the files are read: what they have to hold."""
        path = self.manifest.path
        chain = read_chain(self.store, [*rotated(path), path])
        report.manifest.update({"runs": chain.runs, "problems": chain.problems})
        for item in self.outbox.deliveries:
            target = item.destination.target
            self._checkers[target] = Checker(chain.batches(self.store.name_of(target)))

    def _check_manifest(self, report: PullReport) -> None:
        for item in self.outbox.deliveries:
            found = self._checkers[item.destination.target].problems()
            report.manifest["problems"] += [f"{item.destination.target}: {text}" for text in found]
        for text in report.manifest["problems"]:
            self.context.warn(f"Manifest: {text}.")

    def _feed(self, item: Delivery, text: bytes) -> None:
        self._checkers[item.destination.target].feed(text)

    # --- the tenants -----------------------------------------------------------------------------------------------

    def _whose_turn(self, tenants: int) -> int:
        """The tenant to begin with: with a budget another one in each run, or the last would never get their share."""
        options = self.options
        is_unlimited = options.max_events is options.max_seconds is options.max_bytes is None
        return 0 if is_unlimited else self.manifest.runs % tenants

    def _streams(self, planned: Sequence[Planned]) -> list[StreamReport]:
        """All streams, several at a time. Reports in the plan's order."""
        if self.health is not None and not self.is_dry:
            self.health.begin(planned)
        reports: dict[int, StreamReport] = {}

        def work(number: int) -> None:
            report = self._stream(planned[number])
            with self.store.guard:
                reports[number] = report
                self._note(planned[number], report)
                self.context.progress(report, len(reports), len(planned))

        in_parallel(self._turns(planned), work, self.options.max_parallel if len(planned) > 1 else 1)
        return [reports[number] for number in range(len(planned))]

    def _turns(self, planned: Sequence[Planned]) -> list[int]:
        """In which order they are pulled: where there is a budget, none may always be the last."""
        health = self.health
        if health is not None:
            return sorted(range(len(planned)), key=lambda number: health.turn(planned[number]))
        first = self._whose_turn(len(planned))
        return [*range(first, len(planned)), *range(first)]

    def _failures(self, item: Planned) -> int:
        return 0 if self.health is None else self.health.failures(item)

    def _note(self, item: Planned, report: StreamReport) -> None:
        if self.health is not None and not self.is_dry and not report.is_held:
            self.health.note(item, report)
            self.health.save_now_and_then()

    def _stream(self, item: Planned) -> StreamReport:
        report = StreamReport(item.tenant_id, item.organization, item.api, item.credential)
        if self.health is not None:
            report.error = self.health.held(item)
            report.is_held = report.error is not None or not self.has_budget()
        if report.is_held:
            return report
        try:
            self._pull(item, report)
        except WdatpError as error:
            # The store concerns every tenant; all else only this one.
            if error.code.startswith("store."):
                raise
            report.error = error
        return report

    def _pull(self, item: Planned, report: StreamReport) -> None:
        connection = item.connected()
        if self._failures(item) and not self.context.insists:
            # One that fails is asked, but not waited for.
            connection = replace(connection, http=replace(connection.http, retries=0))
        transport = self._borrow(connection.http)
        transport.deadline = self._turn_ends()
        try:
            _Stream(self, connection, transport, report).pull()
        finally:
            report.counters, transport.counters = transport.counters, Counters()
            report.skew = transport.skew_seconds
            self._idle.setdefault(connection.http, []).append(transport)

    def _borrow(self, http: HttpOptions) -> Transport:
        """A session of its own for each stream that is being pulled; the next one goes on with its connections."""
        try:
            return self._idle[http].pop()
        except (KeyError, IndexError):
            return Transport(http, self.context.warn)

    def _turn_ends(self) -> float | None:
        """When a stream that begins now has to stop, at the next safe point, and without waiting for anything.

        A run that its timer has begun lasts as long as its slowest stream, and the timer begins no other one in the
        meantime: the others would wait for a tenant that is slow, or asks to wait. The next run goes on with it.
        """
        interval = None if self.context.insists else self.options.interval
        turn = None if interval is None else time.monotonic() + interval / SECOND
        return min((end for end in (self.deadline, turn) if end is not None), default=None)

    def claim(self, number: int, tenant_id: str) -> None:
        """JobError where another stream of this run is the same one: a tenant that goes by two names."""
        with self.store.guard:
            is_taken = number >= 0 and number in self._claimed
            self._claimed.add(number)
        if is_taken:
            raise JobError(
                f"The tenant {tenant_id} is pulled by another credential of this run already, under another name.",
                "Name the tenant in one credential only, or leave one of them out.",
                code="job.twice",
            )

    def warn_once(self, text: str) -> None:
        """What concerns several tenants is said once."""
        if text and text not in self._said:
            self._said.add(text)
            self.context.warn(text)

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
        self.source = run.sources[connection.target.api]
        self.client = Client(connection, self.source, transport, run.context.redactor, run.runtime)
        self.origin = {
            "credential": connection.credential,
            "organization": connection.organization,
            "tenant_id": connection.identity.tenant_id,
            "api": self.source.name,
        }
        # Entra ID's answer also tells Microsoft's time, by which the window is computed; and the tenant's id, by which
        # the stream goes: a domain name is the same tenant.
        token = self.client.auth.token()
        tenant_id = token.tenant_id or connection.identity.tenant_id
        self.number = run.store.stream(run.job, tenant_id, self.source.name)
        run.claim(self.number, tenant_id)
        check_here(run.store, self.number, tenant_id)
        report.number = self.number
        self._warn_of_expiry()
        self.today = run.today = transport.server_now() // DAY
        self.filter_key = self.source.filter_key
        self.cursor = run.store.cursor(self.number, self.filter_key)
        self.ledger = Ledger(lambda ids: run.store.known(self.number, ids), run.options.updates, self.source.time_field)
        self.moves_cursor = True
        self.lateness = run.store.lateness(self.number, self.today)
        # Events behind this moment that are not known yet came late; None: nothing can be learned of them.
        self.late_behind = self.cursor.ticks if self.cursor and run.options.since is None else None

    def _warn_of_expiry(self) -> None:
        ends = self.report.secret_ends = self.client.auth.proof_ends
        if ends is not None:
            path = self.client.connection.identity.certificate_path or ""
            self.run.warn_once(expiry_words(path, ends, self.transport.server_now()))

    def pull(self) -> None:
        run, report = self.run, self.report
        report.before = report.after = self.cursor.value if self.cursor else None
        now = self.transport.server_now()
        window = self._window(now)
        report.window = (window.low, window.high)
        if run.is_reconciling:
            report.reconciled = Reconciled()
        began = now_ticks()
        try:
            is_mended = self._retry_quarantined()
            walk = self._walk(window, avoid=[Span(*span) for span in self._quarantined()])
            drained = self._has_budget() and self._drain_in_pace(walk)
            report.complete = drained and is_mended and not walk.is_partial and not walk.bad_slices
        finally:
            report.quarantined = len(self._quarantined())
            report.after = self.cursor.value if self.cursor else None
            report.lag_seconds = self._lag(began)
            report.reached = self._reached(now)
            report.silent_seconds = self._age_of_cursor()
        if report.complete and not run.is_dry:
            with run.store.transaction():
                run.store.prune(self.number, self.today)

    def _walk(self, window: Span, avoid: Sequence[Span] = ()) -> Walk:
        size, _warning = page_size_of(self.options.page_size, self.source)
        return Walk(self.source, ApiAsker(self.client, self.source), window, size, avoid)

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
        if not self._has_budget() or not self._drain(walk, moves_cursor=False):
            return False
        if walk.bad_slices or walk.is_partial:
            return False
        if not self.run.is_dry:
            with self.run.store.transaction():
                self.run.store.release(self.number, self.filter_key, span.low)
        return True

    def _drain_in_pace(self, walk: Walk) -> bool:
        """As _drain. The limit of requests ends a run as a budget does: it was agreed on, and nothing is wrong."""
        try:
            return self._drain(walk)
        except ApiError as error:
            if error.code != "api.paced":
                raise
            self.run.context.warn(str(error))
            return False

    def _drain(self, walk: Walk, moves_cursor: bool = True) -> bool:
        """Every batch of the walk; False where a budget ended before it."""
        with closing(one_ahead(walk)) as batches:
            for batch in batches:
                if batch.bad:
                    self._set_aside(batch.bad)
                if not self._keep(batch.events, batch.moves_cursor and moves_cursor):
                    return False
                # Time ends a run only behind what was known: else one that can just read that would never get on.
                if not self._has_budget() and (self.report.new or self.report.updated):
                    return False
                # Or they would stay in memory while the next batch is waited for.
                batch.events.clear()
        return True

    def _has_budget(self) -> bool:
        return self.run.has_budget() and not self.transport.is_late()

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
        return self._age_of_cursor()

    def _reached(self, asked_at: int) -> int | None:
        """The moment (ticks, Microsoft's clock) up to which all was fetched."""
        if self.report.complete and self.options.until is None:
            return asked_at
        return None if self.cursor is None else self.cursor.ticks

    def _age_of_cursor(self) -> int | None:
        """Seconds since the newest event that was seen, by Microsoft's time."""
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
        if self.run.is_dry:
            return
        store, key = self.run.store, self.filter_key
        span, why = (bad.span.low, bad.span.high or bad.span.low), (bad.error.code, bad.error.message)
        with store.transaction():
            store.quarantine(self.number, key, span, format_time(now_ticks()), why)

    # --- a batch ---------------------------------------------------------------------------------------------------

    def _keep(self, events: list[Event], moves_cursor: bool) -> bool:
        """A batch into the store and the files, one at a time of all streams. False where a budget ended within it."""
        with self.run.store.guard:
            return self._keep_alone(events, moves_cursor)

    def _keep_alone(self, events: list[Event], moves_cursor: bool) -> bool:
        verdicts = list(self.ledger.judge(events))
        targets = self.run.holdings.lacking(self.source.name, verdicts)
        count = self._within_budget(verdicts, targets)
        is_whole = count == len(verdicts)
        del verdicts[count:], targets[count:]
        cursor = self._next_cursor(verdicts) if moves_cursor and self.moves_cursor else self.cursor
        self._reconcile(verdicts, targets)
        if not self.run.is_dry:
            self._commit(verdicts, targets, cursor, self._later(verdicts) if moves_cursor else 0)
            self.cursor = cursor
        for verdict in verdicts:
            setattr(self.report, verdict.kind, getattr(self.report, verdict.kind) + 1)
        if self.options.reconcile != "report":
            chosen = [verdict.event.raw for verdict, where in zip(verdicts, targets) if where != NOWHERE]
            self.report.chosen += len(chosen)
            self.run.returned.extend(chosen[-self.options.return_events or len(chosen) :])
        return is_whole

    def _within_budget(self, verdicts: list[Verdict], targets: list[Targets]) -> int:
        """How many of them come before a budget of events or bytes ends (time is looked at between batches)."""
        for number, (verdict, where) in enumerate(zip(verdicts, targets)):
            if where != NOWHERE and not self.run.take(len(verdict.event.raw)):
                return number
        return len(verdicts)

    def _reconcile(self, verdicts: list[Verdict], targets: list[Targets]) -> None:
        """Counts what was there before this run."""
        found = self.report.reconciled
        if found is None:
            return
        for verdict, where in zip(verdicts, targets):
            found.api += 1
            if not verdict.entry.written:
                found.left_out += 1
            elif where == NOWHERE:
                found.delivered += 1
            else:
                found.note_missing(verdict.event.id)

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

    def _commit(self, verdicts: list[Verdict], targets: list[Targets], cursor: Cursor | None, lateness: int) -> None:
        store = self.run.store
        entries = [verdict.entry for verdict in verdicts if verdict.kind != DUPLICATES]
        chosen = [verdict.event for verdict, where in zip(verdicts, targets) if where != NOWHERE]
        if not entries and not chosen and not lateness and cursor == self.cursor:
            # As with most tenants in most runs; each commit has to wait for the disk.
            return
        with store.transaction():
            store.remember(self.number, entries, self.today)
            batches = [
                self._put(events, destination) for destination, events in self._shipments(verdicts, targets) if events
            ]
            self.run.journal.add(self.number, self.origin["organization"], chosen, self.today)
            if cursor is not None:
                store.set_cursor(self.number, self.filter_key, cursor)
            if lateness:
                store.set_lateness(self.number, lateness, self.today)
                self.lateness = lateness
        self.run.holdings.shipped(self.source.name, verdicts, targets)
        self._deliver(batches, len(chosen))

    def _shipments(self, verdicts: list[Verdict], targets: list[Targets]) -> list[tuple[int | None, list[Event]]]:
        """(destination, events): one for all destinations (None), or one for each where they lack different events."""
        sent = [(verdict.event, where) for verdict, where in zip(verdicts, targets)]
        if all(where in (None, NOWHERE) for where in targets):
            return [(None, [event for event, where in sent if where is None])]
        return [
            (item.id, [event for event, where in sent if where is None or number in where])
            for number, item in enumerate(self.run.outbox.deliveries)
        ]

    def _put(self, events: list[Event], destination: int | None) -> tuple[Outgoing, int | None]:
        """Events into the outbox, for one destination or for all. Inside a transaction."""
        store = self.run.store
        lines = b"\n".join([*(one_line(event.raw) for event in events), b""])
        ids = [event.id for event in events]
        batch = store.put_batch(self.run.job, format_time(now_ticks()), self.origin, ids, lines, destination)
        store.add_piece(self.number, destination, (batch.id, batch.size, *piece_of(lines), ids[0], ids[-1]))
        self.run.outbox.intend(batch.id, destination)
        return batch, destination

    def _deliver(self, batches: Sequence[tuple[Outgoing, int | None]], events: int) -> None:
        outbox = self.run.outbox
        for batch, _destination in batches:
            outbox.deliver(batch)
        if all(outbox.has_all(batch.id, destination) for batch, destination in batches):
            self.report.written += events
            if self.report.reconciled is not None:
                self.report.reconciled.filled += events
