# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The walk against services of every mood: whatever they do with order, links, limits and ties, nothing is missed."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp import paging
from ansible_collections.secops.defender.plugins.module_utils._wdatp.errors import ApiError, TransportError
from ansible_collections.secops.defender.plugins.module_utils._wdatp.page import Event
from ansible_collections.secops.defender.plugins.module_utils._wdatp.paging import (
    MOST_BAD_SLICES,
    SMALLEST_PAGE,
    Answer,
    Batch,
    Walk,
)
from ansible_collections.secops.defender.plugins.module_utils._wdatp.sources.base import Source, Span
from ansible_collections.secops.defender.plugins.module_utils._wdatp.sources.registry import source_of
from ansible_collections.secops.defender.plugins.module_utils._wdatp.times import SECOND, format_time
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

NOW = 1_790_000_000 * SECOND
ENDLESS = 5_000


@dataclass
class Service:
    """A list of alerts as an API gives it out. Rows are (update time, creation time, id)."""

    rows: list[tuple[int, int, str]]
    source: Source
    order: str = "asc"
    # The service gives fewer rows than asked for.
    clamp: int | None = None
    # on, off, foreign (leads elsewhere), repeat, empty_first (an empty page with a link comes first)
    links: str = "off"
    skips: bool = True
    # Alerts in whose presence every answer fails.
    poison: frozenset[str] = frozenset()
    is_down: bool = False
    # Answers with more rows, or with one of these alerts, take too long.
    slow_above: int | None = None
    sluggish: frozenset[str] = frozenset()
    is_patient: bool = True
    timeouts: int = 0
    requests: int = 0
    pages: dict[str, list[Event]] = field(default_factory=dict)

    def server_now(self) -> int:
        return NOW

    def answers(self) -> bool:
        self._count()
        return not self.is_down

    def _events(self, span: Span, extra: Sequence[str]) -> list[Event]:
        low, high = span
        if self.source.grain > 1:
            # The query is a little wider than the span.
            low -= self.source.grain
            high = None if high is None else high + self.source.grain
        found = [row for row in self.rows if low <= row[0] and (high is None or row[0] <= high)]
        for condition in extra:
            name, word, moment = condition.split()
            assert name == "createdDateTime"
            found = [
                row for row in found if {"ge": format_time(row[1]) >= moment, "le": format_time(row[1]) <= moment}[word]
            ]
        found.sort(reverse=self.order != "asc")
        return [
            Event(ticks, name, format_time(ticks), json.dumps({"createdDateTime": format_time(created)}).encode())
            for ticks, created, name in found
        ]

    def span(self, span: Span, top: int, skip: int = 0, extra: Sequence[str] = ()) -> Answer:
        self._count()
        limit = self.source.skip_limit
        assert limit is None or skip <= limit, "a $skip that the API refuses"
        events = self._events(span, extra)
        return self._page(events[skip if self.skips else 0 :], min(top, self.clamp or top), events)

    def everything(self, span: Span) -> Answer | None:
        if self.source.everything_params(span) is None:
            return None
        self._count()
        events = self._events(span, ())
        return Answer(events, len(events))

    def link(self, url: str) -> Answer | None:
        self._count()
        if url == "foreign":
            return None
        rest = self.pages[url]
        size = min(self.source.page_default, self.clamp or self.source.page_default, 7)
        return self._page(rest, size, rest)

    def _page(self, events: list[Event], size: int, whole: list[Event]) -> Answer:
        page, rest = events[:size], events[size:]
        if self.is_down or self.poison & {event.id for event in page}:
            raise ApiError("The service failed.", code="api.unavailable", status=500)
        if len(page) > (self.slow_above or len(page)) or self.sluggish & {event.id for event in page}:
            self.timeouts += 1
            raise TransportError("No answer in time.", code="network.timeout", wants_less=True)
        if self.order == "shuffled":
            random.Random(len(events)).shuffle(page)
            ticks = [event.ticks for event in page]
            if ticks == sorted(ticks):
                # By chance in order, a page of a few rows would look like one that came oldest first.
                page.reverse()
        if self.links == "empty_first" and events and f"e{len(events)}" not in self.pages:
            self.pages[f"e{len(events)}"] = events
            return Answer([], 0, f"e{len(events)}")
        link = None
        if rest and self.links in ("on", "empty_first"):
            link = f"p{self.requests}"
            self.pages[link] = rest
        elif rest and self.links == "repeat":
            link = "again"
            self.pages["again"] = whole
        elif rest and self.links == "foreign":
            link = "foreign"
        return Answer(page, len(page), link)

    def _count(self) -> None:
        self.requests += 1
        assert self.requests < ENDLESS, "the walk does not end"


def rows_of(*groups: tuple[int, int]) -> list[tuple[int, int, str]]:
    """(seconds before now, how many) -> rows that share each of these times, created at different times."""
    found = []
    for seconds, amount in groups:
        for number in range(amount):
            moment = NOW - seconds * SECOND
            found.append((moment, moment - number * SECOND, f"{seconds}-{number}"))
    return found


def walk(service: Service, window: Span | None = None, page_size: int = 10) -> list[Batch]:
    window = window or Span(NOW - 86_400 * SECOND, None)
    return list(Walk(service.source, service, window, page_size))


def check(service: Service, batches: list[Batch], window: Span | None = None) -> None:
    """Everything in the window, each once, in order, and no batch ends behind something that is still to come."""
    window = window or Span(NOW - 86_400 * SECOND, None)
    wanted = {
        row[2]: row[0] for row in service.rows if row[0] >= window.low and (not window.high or row[0] <= window.high)
    }
    seen: list[str] = []
    for batch in batches:
        ticks = [event.ticks for event in batch.events]
        assert ticks == sorted(ticks)
        seen += [event.id for event in batch.events]
        missing = [name for name, moment in wanted.items() if name not in set(seen) and moment < ticks[-1]]
        assert missing == [], "the cursor would pass events that are not there yet"
    assert sorted(seen) == sorted(wanted)


GRAPH, INCIDENTS, MDE, EXPORTER = (
    source_of(api) for api in ("graph_alerts", "graph_incidents", "mde_alerts", "alert_exporter")
)


_LINKS = ("on", "off", "foreign", "repeat", "empty_first")
EVERY_MOOD = [
    *itertools.product((GRAPH, INCIDENTS, MDE), ("asc", "desc", "shuffled"), _LINKS),
    # It has no links, and its limit keeps the newest.
    *itertools.product((EXPORTER,), ("desc", "shuffled"), ("off",)),
]


@pytest.mark.parametrize(
    ("source", "order", "links"), EVERY_MOOD, ids=[f"{mood[0].name}-{mood[1]}-{mood[2]}" for mood in EVERY_MOOD]
)
def test_every_mood(source: Source, order: str, links: str) -> None:
    service = Service(
        rows_of((9000, 4), (8000, 11), (7999, 1), (3600, 25), (60, 9), (0, 1)), source, order, links=links
    )
    check(service, walk(service))


def test_quiet_tenant_costs_few_requests() -> None:
    for rows, most in ((rows_of(), 1), (rows_of((600, 1)), 3), (rows_of((600, 1), (500, 1), (30, 1)), 2)):
        for source in (GRAPH, MDE):
            service = Service(rows, source, "asc" if source.is_ordered else "desc")
            check(service, walk(service))
            assert service.requests <= most


@pytest.mark.parametrize(("page_size", "most"), [(100, 20), (50, 70), (10, 340)])
def test_a_tie_at_each_border(page_size: int, most: int) -> None:
    """Ties smaller than a page cost a few rows more; larger ones are read twice, to be sure that nothing moved."""
    service = Service(rows_of(*((1000 - number, 37) for number in range(30))), GRAPH)
    check(service, walk(service, page_size=page_size))
    assert service.requests < most


@pytest.mark.parametrize("clamp", [1, 2, 9, 10, 36, 37, 38, 99])
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_service_gives_less_than_asked(clamp: int, order: str) -> None:
    service = Service(rows_of((900, 37), (899, 1), (500, 3), (499, 60)), GRAPH if order == "asc" else MDE, order, clamp)
    check(service, walk(service, page_size=100))


def test_more_ties_than_skip_reaches_are_divided_by_creation() -> None:
    service = Service(rows_of((700, 3), (600, 2600), (500, 3)), GRAPH)
    check(service, walk(service, page_size=1000))


def test_ties_that_nothing_divides_are_put_aside_after_all_that_can_be_read() -> None:
    moment = NOW - 600 * SECOND
    rows = rows_of((700, 3), (10, 2)) + [(moment, moment, f"same-{number}") for number in range(1501)]
    batches = walk(Service(rows, GRAPH), page_size=1000)
    seen = [event.id for batch in batches for event in batch.events]
    # Three before it, a page, what $skip reaches behind it, and two after it.
    assert len(seen) == len(set(seen)) == 3 + 1500 + 2
    [bad] = [batch.bad for batch in batches if batch.bad]
    assert bad.error.code == "api.crowded_moment"
    assert format_time(moment) in bad.error.message
    assert bad.span == Span(moment, moment)


def test_skip_that_is_ignored_ends() -> None:
    service = Service(rows_of((600, 40), (500, 5)), GRAPH, skips=False)
    check(service, walk(service, page_size=10))
    # This service knows no alertCreationTime, so nothing divides the moment.
    service = Service(rows_of((600, 40)), MDE, "desc", skips=False)
    assert [batch.bad.error.code for batch in walk(service, page_size=10) if batch.bad] == ["api.crowded_moment"]


def test_time_filter_that_is_ignored_is_an_error() -> None:
    class Deaf(Service):
        def _events(self, span: Span, extra: Sequence[str]) -> list[Event]:
            return super()._events(Span(0, None), ())

    service = Deaf(rows_of((90_000, 30), (10, 1)), GRAPH)
    with pytest.raises(ApiError) as caught:
        walk(service)
    assert caught.value.code == "api.filter_ignored"


def test_partial_answer_holds_the_cursor() -> None:
    class Partial(Service):
        def span(self, span: Span, top: int, skip: int = 0, extra: Sequence[str] = ()) -> Answer:
            return super().span(span, top, skip, extra)._replace(is_partial=self.requests == 2)

    service = Partial(rows_of(*((1000 - number, 1) for number in range(40))), GRAPH)
    walker = Walk(GRAPH, service, Span(NOW - 86_400 * SECOND, None), 10)
    moves = [batch.moves_cursor for batch in walker]
    assert walker.is_partial
    assert moves == [True, False, False, False, False][: len(moves)]


def test_alert_that_moves_while_the_walk_is_under_way() -> None:
    """An update takes an alert out of its place: position by number would then skip a row, by time it does not."""

    class Moving(Service):
        def span(self, span: Span, top: int, skip: int = 0, extra: Sequence[str] = ()) -> Answer:
            answer = super().span(span, top, skip, extra)
            if self.requests == 1:
                first = self.rows[0]
                self.rows[0] = (NOW - SECOND, first[1], first[2])
            return answer

    service = Moving(rows_of(*((1000 - number, 3) for number in range(40))), GRAPH)
    names = {row[2] for row in service.rows}
    batches = walk(service)
    assert {event.id for batch in batches for event in batch.events} == names
    assert batches[-1].events[-1].id == service.rows[0][2]


def test_alert_that_leaves_a_crowded_moment_hides_no_other() -> None:
    class Leaving(Service):
        def span(self, span: Span, top: int, skip: int = 0, extra: Sequence[str] = ()) -> Answer:
            answer = super().span(span, top, skip, extra)
            if span.low == span.high and skip == 0 and self.rows[0][0] != NOW:
                self.rows[0] = (NOW, self.rows[0][1], self.rows[0][2])
                self.rows.sort()
            return answer

    service = Leaving(sorted(rows_of((600, 35))), INCIDENTS)
    names = {row[2] for row in service.rows}
    assert {event.id for batch in walk(service) for event in batch.events} == names


def test_window_with_an_end() -> None:
    window = Span(NOW - 5000 * SECOND, NOW - 1000 * SECOND)
    for source, order in ((GRAPH, "asc"), (MDE, "desc"), (EXPORTER, "shuffled")):
        service = Service(rows_of((6000, 20), (5000, 12), (3000, 30), (1000, 12), (999, 20)), source, order)
        check(service, walk(service, window), window)


@pytest.mark.parametrize("amount", [1, 4, 40])
@pytest.mark.parametrize("source", [GRAPH, MDE, EXPORTER], ids=lambda source: source.name)
def test_window_that_begins_with_a_tie_at_an_odd_tick(source: Source, amount: int) -> None:
    """As after a run without overlap: the cursor's own moment comes first, and no millisecond begins there."""
    moment = NOW - 55 * SECOND - 1_270_755
    rows = [(moment, moment, f"tie-{number}") for number in range(amount)] + rows_of((20, 3))
    service = Service(rows, source, "asc" if source.is_ordered else "desc")
    window = Span(moment, None)
    check(service, walk(service, window), window)


def test_walk_that_stands_still_ends_with_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """No service is known that could bring it about; a mistake in the walk could."""
    monkeypatch.setattr(Walk, "_narrower", lambda self, span, inside: self._width)
    with pytest.raises(ApiError) as caught:
        walk(Service(rows_of((600, 40), (10, 1)), MDE, "desc"))
    assert caught.value.code == "api.no_progress"


def test_rows_that_come_twice_hide_no_others() -> None:
    """One answer with doubles, then answers that the service cuts: their size must not pass for a whole one's."""

    class Doubling(Service):
        def _page(self, events: list[Event], size: int, whole: list[Event]) -> Answer:
            answer = super()._page(events, size, whole)
            doubles = answer.events[-5:] if self.requests == 1 else []
            return answer._replace(events=answer.events + doubles, rows=answer.rows + len(doubles))

    for source, order in ((GRAPH, "asc"), (MDE, "desc")):
        service = Doubling(rows_of((900, 37), (899, 1), (500, 30), (20, 4)), source, order, clamp=10)
        check(service, walk(service, page_size=100))


def test_empty_answer_that_links_to_itself_costs_one_request() -> None:
    class Circling(Service):
        def _page(self, events: list[Event], size: int, whole: list[Event]) -> Answer:
            return super()._page(events, size, whole) if events else Answer([], 0, "circle")

        def link(self, url: str) -> Answer | None:
            self._count()
            return Answer([], 0, "circle")

    service = Circling(rows_of((900, 3)), MDE, "desc")
    check(service, walk(service))
    assert service.requests < 6


def test_rows_without_a_time_are_handed_over() -> None:
    class Timeless(Service):
        def _events(self, span: Span, extra: Sequence[str]) -> list[Event]:
            return [event._replace(ticks=-1, version="sha256:1") for event in super()._events(span, extra)]

    service = Timeless(rows_of((50, 3)), GRAPH)
    assert len([event for batch in walk(service) for event in batch.events]) == 3


@pytest.mark.parametrize("source", [GRAPH, MDE, EXPORTER], ids=lambda source: source.name)
@pytest.mark.parametrize("place", ["0-0", "60-8", "3600-0", "8000-3", "9000-2"])
def test_one_bad_alert_hides_only_those_of_its_moment(source: Source, place: str) -> None:
    order = "asc" if source.is_ordered else "desc"
    rows = rows_of((9000, 4), (8000, 11), (7999, 1), (3600, 25), (60, 9), (0, 1))
    service = Service(rows, source, order, poison=frozenset([place]))
    batches = walk(service)
    seen = [event.id for batch in batches for event in batch.events]
    readable = [name for _ticks, _created, name in rows if name.split("-")[0] != place.split("-")[0]]
    assert set(readable) <= set(seen)
    assert len(seen) == len(set(seen))
    bad = [batch.bad.span for batch in batches if batch.bad]
    moment = NOW - int(place.split("-")[0]) * SECOND
    assert any(span.low <= moment <= (span.high or 0) for span in bad)
    # The alert exporter is asked for a little more than a span, so the neighbouring moments fail as well.
    assert all(abs(span.low - moment) < 2 * source.grain for span in bad)
    assert all((span.high or 0) - span.low < source.grain for span in bad)
    assert service.requests < 400
    assert service.is_patient

    # What is known to be bad is left out, and costs nothing.
    again = Service(rows, source, order, poison=frozenset([place]))
    batches = list(Walk(source, again, Span(NOW - 86_400 * SECOND, None), 10, bad))
    assert [batch.bad for batch in batches if batch.bad] == []
    assert set(readable) <= {event.id for batch in batches for event in batch.events}


def test_service_that_is_down_is_not_taken_for_a_bad_slice() -> None:
    service = Service(rows_of((9000, 4), (10, 1)), GRAPH, is_down=True)
    with pytest.raises(ApiError):
        walk(service)
    assert service.requests == 2


def test_many_bad_slices_are_an_error() -> None:
    rows = rows_of(*((1000 - number, 1) for number in range(40)))
    service = Service(rows, GRAPH, poison=frozenset(name for _ticks, _created, name in rows))
    batches = iter(Walk(GRAPH, service, Span(NOW - 86_400 * SECOND, None), 10))
    assert all(next(batches).bad for _number in range(MOST_BAD_SLICES))
    with pytest.raises(ApiError):
        next(batches)


# --- answers that are too slow or too large -------------------------------------------------------------------------


@pytest.mark.parametrize("links", ["on", "off"])
@pytest.mark.parametrize("source", [GRAPH, INCIDENTS, MDE, EXPORTER], ids=lambda source: source.name)
@pytest.mark.parametrize("most", [10, 24, 60, 99])
def test_pages_become_as_small_as_the_service_can_give(source: Source, links: str, most: int) -> None:
    rows = rows_of(*((4000 - number, 1) for number in range(700)), (90, 45), (50, 4))
    order = "asc" if source.is_ordered else "desc"
    service = Service(rows, source, order, links="off" if source is EXPORTER else links, slow_above=most)
    if source is EXPORTER and most < 45:
        # Its only way through a crowded moment is one answer without a limit.
        service.rows = rows_of(*((4000 - number, 1) for number in range(700)))
    check(service, walk(service, page_size=100))
    assert service.timeouts


def test_narrowing_goes_on_at_once_and_step_by_step() -> None:
    sizes = []

    class Noting(Service):
        def span(self, span: Span, top: int, skip: int = 0, extra: Sequence[str] = ()) -> Answer:
            sizes.append(top)
            return super().span(span, top, skip, extra)

    service = Noting(rows_of(*((4000 - number, 1) for number in range(400))), GRAPH, slow_above=30)
    check(service, walk(service, page_size=100))
    assert sizes[:3] == [100, 50, 25]
    # After some good answers it tries larger ones again, one step at a time.
    assert sizes[3:9] == [25, 25, 25, 25, 50, 25]
    assert set(sizes) == {100, 50, 25}


def test_a_hiccup_costs_one_question_more() -> None:
    class Hiccup(Service):
        def _page(self, events: list[Event], size: int, whole: list[Event]) -> Answer:
            self.slow_above = 1 if self.requests == 3 else None
            return super()._page(events, size, whole)

    rows = rows_of(*((4000 - number, 1) for number in range(2000)))
    slow, even = Hiccup(rows, GRAPH), Service(rows, GRAPH)
    for service in (slow, even):
        check(service, walk(service, page_size=100))
    assert slow.timeouts == 1
    # And five at half the size.
    assert slow.requests - even.requests <= 4


@pytest.mark.parametrize("source", [GRAPH, MDE, EXPORTER], ids=lambda source: source.name)
@pytest.mark.parametrize("place", ["0-0", "60-8", "3600-0", "9000-2"])
def test_one_alert_that_takes_too_long_hides_only_those_of_its_moment(source: Source, place: str) -> None:
    rows = rows_of((9000, 4), (8000, 11), (7999, 1), (3600, 25), (60, 9), (0, 1))
    service = Service(rows, source, "asc" if source.is_ordered else "desc", sluggish=frozenset([place]))
    batches = walk(service, page_size=40)
    seen = [event.id for batch in batches for event in batch.events]
    readable = [name for _ticks, _created, name in rows if name.split("-")[0] != place.split("-")[0]]
    assert set(readable) <= set(seen)
    assert len(seen) == len(set(seen))
    moment = NOW - int(place.split("-")[0]) * SECOND
    bad = [batch.bad for batch in batches if batch.bad]
    assert any(item.span.low <= moment <= (item.span.high or 0) for item in bad)
    assert {item.error.code for item in bad} == {"network.timeout"}
    # Each of them costs a time-out; halving a day down to a tick takes 40.
    assert service.timeouts < 60
    assert service.is_patient


def test_a_service_that_is_too_slow_for_everything_is_down() -> None:
    class Down(Service):
        def answers(self) -> bool:
            self._count()
            return False

    rows = rows_of((9000, 400))
    service = Down(rows, GRAPH, sluggish=frozenset(row[2] for row in rows))
    with pytest.raises(TransportError) as caught:
        walk(service, page_size=1000)
    assert caught.value.code == "network.timeout"
    # 1000, 500, 250, 125, 62, 31, 15, 10, and whether it answers at all.
    assert service.requests == 9
    assert SMALLEST_PAGE == 10


def test_a_size_above_the_largest_answer_proves_nothing() -> None:
    """Small pages that grow again: one that was asked for small must not pass for a whole one that is short."""

    @dataclass
    class Moody(Service):
        seed: int = 0

        def _page(self, events: list[Event], size: int, whole: list[Event]) -> Answer:
            self.slow_above = random.Random(self.requests + 1000 * self.seed).choice([None, None, None, 10, 20])
            return super()._page(events, size, whole)

    timeouts = 0
    for seed in range(20):
        rows = rows_of((900, 37), *((800 - number, number % 3) for number in range(200)), (500, 60))
        for source, order, links in ((GRAPH, "asc", "off"), (GRAPH, "asc", "on"), (MDE, "desc", "off")):
            service = Moody(rows, source, order, links=links, seed=seed)
            check(service, walk(service, page_size=80))
            timeouts += service.timeouts
    assert timeouts > 100


def test_an_answer_without_a_limit_that_is_too_large_is_read_as_far_as_pages_go() -> None:
    rows = rows_of((900, 3), (600, 45), (500, 3))

    class Large(Service):
        def everything(self, span: Span) -> Answer | None:
            self._count()
            raise TransportError("Too much.", code="network.too_large", wants_less=True)

    batches = walk(Large(rows, EXPORTER, "desc"), page_size=20)
    assert len([event for batch in batches for event in batch.events]) >= 6 + 20
    # Each question is a little wider than its moment, so the neighbours seem crowded as well.
    assert {batch.bad.error.code for batch in batches if batch.bad} == {"api.crowded_moment"}


@pytest.mark.parametrize("source", [GRAPH, MDE, EXPORTER], ids=lambda source: source.name)
def test_walk_ends_although_alerts_come_faster_than_it_reads(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "now_ticks", lambda: NOW)

    class Growing(Service):
        def span(self, span: Span, top: int, skip: int = 0, extra: Sequence[str] = ()) -> Answer:
            second = self.requests // 2
            self.rows += [(NOW + second * SECOND, NOW, f"new {self.requests} {number}") for number in range(15)]
            return super().span(span, top, skip, extra)

    service = Growing(rows_of((900, 30), (600, 45)), source, "asc" if source.is_ordered else "desc")
    seen = {event.id for batch in walk(service, page_size=10) for event in batch.events}
    assert {row[2] for row in service.rows if row[0] < NOW - SECOND} <= seen


MOODS = st.builds(
    dict,
    api=st.sampled_from(["graph_alerts", "graph_incidents", "mde_alerts", "alert_exporter"]),
    order=st.sampled_from(["asc", "desc", "shuffled"]),
    clamp=st.none() | st.integers(1, 12),
    links=st.sampled_from(["on", "off", "foreign", "repeat", "empty_first"]),
    page_size=st.integers(1, 12) | st.integers(13, 60),
    end=st.none() | st.integers(0, 4000),
    slow_above=st.none() | st.integers(10, 30),
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    groups=st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 30)), max_size=12, unique_by=lambda group: group[0]),
    jitter=st.integers(0, 3_000_000),
    mood=MOODS,
)
def test_whatever_the_service_does(groups: list[tuple[int, int]], jitter: int, mood: dict[str, object]) -> None:
    source = source_of(str(mood["api"]))
    order, links, clamp = str(mood["order"]), str(mood["links"]), mood["clamp"]
    if source.name == "alert_exporter":
        # No links, and its limit keeps the newest; a clamp of its own is not known of it.
        order, links, clamp = "shuffled", "off", None
    if source.is_ordered and order == "shuffled" and clamp is not None:
        # Neither order nor number can be relied on: nobody could tell that rows are missing.
        clamp = None
    rows = [
        (ticks - jitter * (index % 3), created, name) for index, (ticks, created, name) in enumerate(rows_of(*groups))
    ]
    service = Service(rows, source, order, clamp, links)  # type: ignore[arg-type]
    service.slow_above = mood["slow_above"]  # type: ignore[assignment]
    end = mood["end"]
    window = Span(NOW - 4500 * SECOND - jitter, None if end is None else NOW - int(str(end)) * SECOND)
    check(service, list(Walk(source, service, window, int(str(mood["page_size"])))), window)
