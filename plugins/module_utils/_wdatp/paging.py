# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The walk through a window of time: one for all sources, right about ties, with links and without.

The idea. Everything before `low` has been handed over; the walk asks for the span from `low` on and raises `low`.
It never trusts that an answer is whole because it looks so, only because

* it holds fewer rows than an earlier answer of this walk did, so no limit can have cut it, or
* the same question without the rows that are known ($skip) brings nothing.

Where an answer may have been cut, the walk goes on

* from the last row's own time, that time included, when the rows came oldest first: any number of ties may lie on
  the border, the ids known there are left out;
* with a shorter span, when they did not: a span is made so short that its answer is whole;
* within one single moment (see `_moment`), where nothing is shorter: without limit, by link, by $skip, or divided by
  the time of creation.

Next links are only followed where time can't lead on: a position in a list shifts when alerts move in it.

An answer that is too slow or too large is asked for again with half as many rows, and one that is refused for their
number with as many as the service gives, in `_ask` and nowhere else; what is said above about whole answers holds for
whatever number was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from .errors import ApiError, TransportError, WdatpError
from .page import Event
from .sources.base import EVERYTHING, Part, Source, Span
from .times import SECOND, format_time, now_ticks

# The end of an open window: a Date header has whole seconds, and clocks of a service differ a little.
_END_SLACK = 2 * SECOND
# Answers in a row that lead on by link and hold nothing; no service means it seriously beyond.
_EMPTY_LINKS = 100
# More bad slices in one walk mean that something else is wrong.
MOST_BAD_SLICES = 20
# The fewest rows that a slow or oversized answer is narrowed to.
SMALLEST_PAGE = 10
# After so many good answers in a row, pages grow again.
_GOOD_ANSWERS = 5
# Spans shorter than this are doubled quickly, so that quiet years cost few requests.
_GROWTH = 4

Key = tuple[str, str]


class Answer(NamedTuple):
    """One page as the walk sees it: events in the order in which they came, and how many rows there were in all."""

    events: list[Event]
    rows: int
    next_link: str | None = None
    # HTTP 206: the service itself says that something is missing.
    is_partial: bool = False

    @property
    def distinct(self) -> int:
        """How many rows there were, each counted once; rows that were filtered out can't be told apart."""
        return self.rows - len(self.events) + len({key_of(event) for event in self.events})


class Asker(Protocol):
    """Asks the API one question; each may raise ApiError, AuthError or TransportError.

    One of the latter that `wants_less` is raised at once where less can be asked for.
    """

    def span(self, span: Span, top: int, skip: int, extra: Sequence[str]) -> Answer:
        """At most `top` rows of a span, without the first `skip`; `extra`: more conditions."""

    def everything(self, span: Span) -> Answer | None:
        """All rows of a span; None where the API can't be asked without a limit."""

    def link(self, url: str) -> Answer | None:
        """The page that a link leads to; None where it may not be followed, or is refused."""

    def server_now(self) -> int:
        """Microsoft's time in ticks."""

    def answers(self) -> bool:
        """Whether the API answers at all, apart from what a span may hold."""

    # Whether a question is tried again and again before it fails.
    is_patient: bool


class BadSlice(NamedTuple):
    """A moment that can't be read, and why."""

    span: Span
    error: WdatpError


class Batch(NamedTuple):
    """Events to keep, oldest first. Everything before the last one's time has been handed over by then."""

    events: list[Event]
    # False: after a partial answer, the cursor has to stay where it is.
    moves_cursor: bool = True
    # Everything of it may be missing: to be noted before the cursor passes it.
    bad: BadSlice | None = None


def key_of(event: Event) -> Key:
    return event.id, event.version


class Walk:
    """Iterating yields batches until the window is drained."""

    def __init__(self, source: Source, asker: Asker, window: Span, page_size: int, avoid: Sequence[Span] = ()) -> None:
        """`avoid`: spans that are known to be unreadable, oldest first; the walk leaves them out."""
        self.source = source
        self.asker = asker
        self.window = window
        # How many rows a full answer has; it is asked for as many.
        self.full = page_size
        self._page_size = page_size
        self._smallest = min(page_size, SMALLEST_PAGE)
        self._good_answers = 0
        # The largest answer so far: a smaller one can't have been cut.
        self.largest = 0
        self.is_partial = False
        self.bad_slices = 0
        self._avoid = list(avoid)
        # Everything before this moment has been handed over, and of the moment itself these.
        self._low = window.low
        self._known: set[Key] = set()
        # How long a question's span is; None: to the end of the window.
        self._width: int | None = None
        # The end as far as it is known, and the time at which an open walk has caught up.
        self._end = window.high
        self._catch_up_at = 0
        # The end of the shortest span that is known to fail.
        self._suspect = 0
        self._is_drained = False

    def __iter__(self) -> Iterator[Batch]:
        while not self._is_drained:
            before = (self._low, self._width)
            yield from self._step()
            if (self._low, self._width) == before and not self._is_drained:
                # Each question has to lead on; one that does not would be asked for ever.
                raise ApiError(
                    f"The walk through the API {self.source.name} stands still at {format_time(self._low)}.",
                    "Nothing is lost: the cursor stays. Please report this with the time and the API.",
                    code="api.no_progress",
                )

    def _step(self) -> Iterator[Batch]:
        """One question, and what follows from its answer."""
        while self._avoid and (self._avoid[0].high or 0) < self._low:
            del self._avoid[0]
        if self._avoid and self._avoid[0].low <= self._low:
            self._go_behind(self._avoid[0])
            return
        span = Span(self._low, self._slice_end())
        try:
            answer = self._ask(span)
        except (ApiError, TransportError) as error:
            yield from self._unreadable(span, error)
            return
        self._note_end(answer)
        inside = self._inside(answer, span)
        if self._is_whole(answer):
            yield from self._finish(span, answer, inside)
        elif self._is_ascending(inside):
            yield from self._advance(inside)
        elif self._confirms(answer, span):
            yield from self._finish(span, answer, inside)
        else:
            if not inside:
                # Shorter spans would find nothing either, down to the last moment.
                self._check_filter(answer, span)
            yield from self._narrow(span, inside)

    def _narrow(self, span: Span, inside: list[Event]) -> Iterator[Batch]:
        """There may be more than the answer holds, and nothing tells where: a shorter span, or the moment itself."""
        if self._is_moment(span) or self._starts_crowded(inside):
            yield from self._cross_moment(span)
        else:
            self._width = self._narrower(span, inside)

    def _finish(self, span: Span, answer: Answer, inside: list[Event]) -> Iterator[Batch]:
        """The answer holds the whole span."""
        yield from self._batch(inside, self._known)
        self._go_behind(span)
        self._width = self._wider(answer)

    def _advance(self, inside: list[Event]) -> Iterator[Batch]:
        """Oldest first, and perhaps more behind: on from the last row's own time."""
        yield from self._batch(inside, self._known)
        self._low = inside[-1].ticks
        self._known = {key_of(event) for event in inside if event.ticks == self._low}
        # Rows that come oldest first need no short spans.
        self._width = None if self.asker.is_patient else self._search_width()
        self._end_where_caught_up()

    def _cross_moment(self, span: Span) -> Iterator[Batch]:
        end = self._moment_end(self._low)
        moment = Span(self._low, end) if span.high is None or span.high > end else span
        try:
            yield from self._moment(Span(self._low, end), self._known)
        except (ApiError, TransportError) as error:
            yield self._set_aside(moment, error)
        self._go_behind(moment)
        self._width = self._width_behind_moment(self._width)

    def _width_behind_moment(self, width: int | None) -> int | None:
        """Where a question reaches back a little, the next one begins as short as possible."""
        return self.source.grain if self.source.grain > 1 else width

    def _unreadable(self, span: Span, error: WdatpError) -> Iterator[Batch]:
        """A question that keeps failing: shorter spans, until the bad moment is found and put aside."""
        if not self._is_about_data(error):
            raise error
        if self._is_moment(span):
            yield self._set_aside(span, error)
            self._go_behind(span)
            return
        if self.asker.is_patient and not self.asker.answers():
            # The service is down as a whole.
            raise error
        # From here on to the bad moment each second question fails: no waiting for it.
        self.asker.is_patient = False
        self._fix_end()
        self._suspect = self._end or 0 if span.high is None else span.high
        self._width = self._search_width()

    def _search_width(self) -> int | None:
        """Half of the way to the end of the span that failed."""
        if self._low > self._suspect:
            # It has been read after all.
            self.asker.is_patient = True
            return None
        return max(self.source.grain, (self._suspect - self._low + 1) // 2)

    def _set_aside(self, span: Span, error: WdatpError) -> Batch:
        self.bad_slices += 1
        if not self._is_about_data(error) or self.bad_slices > MOST_BAD_SLICES or not self.asker.answers():
            raise error
        self.asker.is_patient = True
        self._width = self._width_behind_moment(None)
        return Batch([], not self.is_partial, BadSlice(span, error))

    @staticmethod
    def _is_about_data(error: WdatpError) -> bool:
        """Whether it may be the fault of what the span holds, and not of the way to the service or our rights."""
        if isinstance(error, TransportError) and error.wants_less:
            return True
        return error.code in ("api.unavailable", "api.crowded_moment", "network.not_json", "network.broken")

    def _go_behind(self, span: Span) -> None:
        if self._is_last(span):
            self._is_drained = True
            return
        self._low, self._known = (span.high or span.low) + 1, set()
        self._end_where_caught_up()

    def _end_where_caught_up(self) -> None:
        """A walk to "now" ends there, also where alerts come faster than they can be read."""
        if self.window.high is None and self._catch_up_at and self._low > self._catch_up_at:
            self._is_drained = True

    # --- what an answer tells --------------------------------------------------------------------------------------

    def _ask(self, span: Span, skip: int = 0, extra: Sequence[str] = ()) -> Answer:
        self._grow()
        while True:
            try:
                answer = self._noted(self.asker.span(span, self.full, skip, extra))
            except TransportError as error:
                if not error.wants_less or self.full == self._smallest:
                    raise
                self._shrink()
            except ApiError as error:
                if not 0 < error.page_limit < self.full:
                    raise
                self._limit_pages(error.page_limit)
            else:
                self._good_answers += 1
                return answer

    def _limit_pages(self, rows: int) -> None:
        """The service gives no more than so many rows, for the rest of this walk."""
        self.full = self._page_size = rows
        self._smallest = min(self._smallest, rows)

    def _shrink(self) -> None:
        # On the way to a bad moment all sizes will fail, and the smallest one decides.
        self.full = max(self._smallest, self.full // 2) if self.asker.is_patient else self._smallest
        self._good_answers = 0

    def _grow(self) -> None:
        """Only before a question: an answer is judged by the size that was asked for."""
        if self._good_answers >= _GOOD_ANSWERS and self.asker.is_patient:
            self.full = min(self._page_size, self.full * 2)
            self._good_answers = 0

    def _noted(self, answer: Answer) -> Answer:
        self.is_partial = self.is_partial or answer.is_partial
        links: set[str] = set()
        while answer.next_link and not answer.rows:
            # An empty page with a link: the service has not come to an end yet.
            following = self._follow(answer.next_link, links) if len(links) < _EMPTY_LINKS else None
            if following is None:
                return answer._replace(next_link=None)
            answer = following
            self.is_partial = self.is_partial or answer.is_partial
        return answer

    def _is_whole(self, answer: Answer) -> bool:
        """Whether nothing can be missing from it, by its size alone."""
        if answer.next_link:
            return False
        if answer.rows == 0 or answer.rows < min(self.largest, self.full):
            return True
        self.largest = max(self.largest, answer.distinct)
        return False

    def _confirms(self, answer: Answer, span: Span) -> bool:
        """Whether the same question without the known rows brings nothing, so that the answer was whole."""
        limit = self.source.skip_limit
        can_skip = limit is None or limit >= answer.distinct
        if answer.next_link or answer.rows >= self.full or not can_skip:
            return False
        rest = self._ask(span, skip=answer.distinct)
        return not rest.rows and not rest.next_link

    def _inside(self, answer: Answer, span: Span) -> list[Event]:
        """The events of a span. One without a readable time counts as of the span's beginning: it must not be lost."""
        low, high = span
        events = [
            event if event.ticks >= 0 else event._replace(ticks=low)
            for event in answer.events
            if event.ticks < 0 or (low <= event.ticks and (high is None or event.ticks <= high))
        ]
        if not events and answer.rows >= self.full:
            self._check_filter(answer, span)
        return events

    def _check_filter(self, answer: Answer, span: Span) -> None:
        """ApiError where all rows lie outside of the span, and further than the grain of a question explains."""
        low, high, grain = span.low, span.high, self.source.grain
        ticks = [event.ticks for event in answer.events]
        if ticks and all(0 <= at < low - grain or (high is not None and at > high + grain) for at in ticks):
            raise ApiError(
                f"The API {self.source.name} ignored the time filter: its alerts lie outside the time asked for.",
                "Nothing is lost: the cursor stays. Run again later; if it lasts, report it to Microsoft.",
                code="api.filter_ignored",
            )

    def _is_ascending(self, events: list[Event]) -> bool:
        """Whether the rows came oldest first. Rows of one moment alone would also come so newest first."""
        if not self.source.is_ordered or not events or events[0].ticks == events[-1].ticks:
            return False
        return all(first.ticks <= second.ticks for first, second in zip(events, events[1:]))

    def _starts_crowded(self, events: list[Event]) -> bool:
        """The whole answer lies at the very first moment."""
        return bool(events) and all(event.ticks == self._low for event in events)

    # --- spans -----------------------------------------------------------------------------------------------------

    def _slice_end(self) -> int | None:
        ends = [self.window.high]
        if self._width is not None:
            grain = self.source.grain
            ends.append(max(self._moment_end(self._low), (self._low + self._width) // grain * grain - 1))
            ends.append(None if self._end is None else max(self._low, self._end))
        if self._avoid:
            ends.append(self._avoid[0].low - 1)
        return min((end for end in ends if end is not None), default=None)

    def _note_end(self, answer: Answer) -> None:
        """An open window ends at the server's time, or at the newest row that it gives."""
        if self.window.high is not None:
            return
        self._fix_end()
        self._end = max(self._end or 0, *(event.ticks for event in answer.events), 0)

    def _fix_end(self) -> None:
        if self._end is None:
            self._end = self.asker.server_now() + _END_SLACK
            # Whichever clock is ahead: a server's wrong Date must not end the walk early.
            self._catch_up_at = max(self._end, now_ticks() + _END_SLACK)

    def _is_last(self, span: Span) -> bool:
        return span.high is None or span.high == self.window.high or (self._end is not None and span.high >= self._end)

    def _is_moment(self, span: Span) -> bool:
        return span.high is not None and span.high <= self._moment_end(span.low)

    def _moment_end(self, ticks: int) -> int:
        """The end of the finest span that can be asked for, around a time."""
        return ticks // self.source.grain * self.source.grain + self.source.grain - 1

    def _wider(self, answer: Answer) -> int | None:
        width = self._width
        if width is not None and answer.rows * 2 <= self.full:
            width *= _GROWTH if answer.rows * _GROWTH < self.full else 2
        if self.asker.is_patient:
            return width
        # On the way to a bad moment, a longer span than half of the way would fail again.
        search = self._search_width()
        return search if width is None or search is None else min(width, search)

    def _narrower(self, span: Span, inside: list[Event]) -> int:
        """How long a span is whose answer is likely whole: half of the time that this full one covers.

        Where that is a single moment, the span ends just before it.
        """
        high = span.high if span.high is not None else self._end
        whole = max(1, (high or span.low) - span.low + 1)
        times = [event.ticks for event in inside]
        grain, covered = self.source.grain, max(times) - min(times) if times else whole
        if covered >= grain:
            return max(grain, min(whole, covered) // 2)
        return max(grain, min(times) // grain * grain - span.low)

    # --- what is handed over ---------------------------------------------------------------------------------------

    def _batch(self, events: Iterable[Event], known: set[Key]) -> Iterator[Batch]:
        fresh: dict[Key, Event] = {}
        for event in events:
            key = key_of(event)
            if key not in known and key not in fresh:
                fresh[key] = event
        if fresh:
            yield Batch(sorted(fresh.values(), key=lambda event: event.ticks), not self.is_partial)

    def _moment(self, span: Span, known: set[Key]) -> Iterator[Batch]:
        """All events of the finest span that the API can be asked for, in as many answers as it takes."""
        whole = self._unless_too_much(self.asker.everything, span)
        if whole is not None:
            yield from self._batch(self._inside(self._noted(whole), span), known)
            return
        known = set(known)
        while True:
            before = len(known)
            for answer in self._pages(span):
                inside = self._inside(answer, span)
                for batch in self._batch(inside, known):
                    known |= {key_of(event) for event in batch.events}
                    yield batch
            if len(known) == before:
                # A pass that brings nothing new: no row slipped through while others moved away.
                return

    def _pages(self, span: Span, part: Part = EVERYTHING) -> Iterator[Answer]:
        """Once through a moment, or a part of it: by links while there are any, by $skip as far as it goes, then
        part by part.
        """
        extra = self.source.part_conditions(part)
        answer = first = self._ask(span, 0, extra)
        rows, skip = 0, 0
        links: set[str] = set()
        seen: set[Key] = set()
        while answer.rows:
            yield answer
            if not answer.next_link and self._is_whole(answer):
                return
            keys = {key_of(event) for event in answer.events}
            # A row that came before is no step forward.
            rows += answer.distinct - len(keys & seen)
            is_stuck = bool(keys) and keys <= seen
            seen |= keys
            link = None if is_stuck else answer.next_link
            following = self._unless_too_much(self._follow, link, links)
            if following is None:
                skip, before = self._reachable(rows), skip
                if skip <= before:
                    yield from self._parts(span, part, first.events, rows)
                    return
                rows = skip
                following = self._ask(span, skip, extra)
            answer = self._noted(following)

    def _follow(self, link: str | None, links: set[str]) -> Answer | None:
        """The page behind a link that was not followed before; None where there is none."""
        if not link or link in links:
            return None
        links.add(link)
        return self.asker.link(link)

    @staticmethod
    def _unless_too_much(ask: Callable[..., Answer | None], *what: Any) -> Answer | None:
        """None where the answer is too slow or too large; what is asked instead can be narrowed."""
        try:
            return ask(*what)
        except TransportError as error:
            if not error.wants_less:
                raise
            return None

    def _reachable(self, rows: int) -> int:
        """The largest $skip that leaves out no more than so many rows."""
        limit = self.source.skip_limit
        return rows if limit is None else min(rows, limit)

    def _parts(self, span: Span, part: Part, sample: list[Event], rows: int) -> Iterator[Answer]:
        """A moment that is too full, divided by the time of creation."""
        times = [ticks for ticks in map(self.source.part_time, sample) if ticks is not None]
        parts = _divided(part, sorted(ticks for ticks in times if part.holds(ticks)))
        if not parts:
            raise ApiError(
                f"More than {rows} alerts of the API {self.source.name} share the update time {format_time(span.low)},"
                f" and it lets nobody read further ($skip ends at {self.source.skip_limit}).",
                "Those before that time and those that could be read are safe. Fetch the rest with api mde_alerts.",
                code="api.crowded_moment",
            )
        for smaller in parts:
            yield from self._pages(span, smaller)


def _divided(part: Part, times: list[int]) -> list[Part]:
    """The part in two, or around the only time that it holds; empty where it can't be divided any more."""
    if not times or part == Part(times[0], times[0]):
        return []
    first, last = times[0], times[-1]
    if first == last:
        ends = [Part(part.low, first - 1), Part(first, first), Part(first + 1, part.high)]
    else:
        middle = next(ticks for ticks in [*times[len(times) // 2 :], last] if ticks > first)
        ends = [Part(part.low, middle - 1), Part(middle, part.high)]
    return [item for item in ends if item.low is None or item.high is None or item.low <= item.high]
