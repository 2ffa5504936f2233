# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every API has to know of itself: how to ask, and what an event's id, version and time are."""

from __future__ import annotations

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from ..errors import OptionError
from ..formats import one_line
from ..page import CONTENT, Columns, Event, Fields, text_of
from ..times import format_time, parse_time

Params = list[tuple[str, str]]


class Span(NamedTuple):
    """A stretch of update time in ticks, both ends included; no upper end: up to now."""

    low: int
    high: int | None


class Part(NamedTuple):
    """A part of a moment: the events that were created in this stretch of time (ticks, both included, None: open)."""

    low: int | None
    high: int | None

    def holds(self, ticks: int) -> bool:
        return (self.low is None or self.low <= ticks) and (self.high is None or ticks <= self.high)


EVERYTHING = Part(None, None)


@dataclass(frozen=True)
class Retirement:
    """Until when Microsoft keeps an API, and what comes after it. `note` is what the warning says."""

    note: str
    successor: str


@dataclass(frozen=True)
class Filter:
    """An option that narrows what is asked. `field` in the API; `values`: the option's word -> the API's."""

    field: str
    values: Mapping[str, str] | None = None
    # The API can't do it: rows are dropped here.
    is_local: bool = False


class Source(ABC):
    """One API. Everything that is a habit of that API is in its own file, and nowhere else."""

    name: ClassVar[str]
    path: ClassVar[str]
    # Application permissions, any of which opens the API; and what their API is called in the Entra admin center.
    roles: ClassVar[tuple[str, ...]]
    resource_name: ClassVar[str]
    headers: ClassVar[Mapping[str, str]] = {}
    # Where a row says when it was updated.
    time_field: ClassVar[str]
    # The most rows that one answer holds, and how many are asked for unless told otherwise.
    page_limit: ClassVar[int]
    page_default: ClassVar[int]
    # The furthest $skip; 0 where there is none, None where no limit is documented.
    skip_limit: ClassVar[int | None] = 0
    # Oldest first can be asked for.
    is_ordered: ClassVar[bool] = False
    # A limit keeps the newest rows, whatever their order.
    keeps_newest: ClassVar[bool] = False
    # The finest step of time in a query, in ticks.
    grain: ClassVar[int] = 1
    # Requests a minute and an hour for each app and tenant; 0: not documented.
    rate: ClassVar[tuple[int, int]] = (0, 0)
    retirement: ClassVar[Retirement | None] = None
    filters: ClassVar[Mapping[str, Filter]] = {}

    def __init__(self, expand: bool = True, wanted: Mapping[str, Iterable[str]] | None = None) -> None:
        """`expand`: evidence or alerts inside. `wanted`: option name (severity, status, category) -> its values.

        OptionError for a filter or a value that this API doesn't know.
        """
        self.expand = expand
        self.wanted = {option: self._values(option, values) for option, values in (wanted or {}).items() if values}
        self._local = {
            self.filters[option].field: frozenset(value.lower() for value in values)
            for option, values in self.wanted.items()
            if self.filters[option].is_local
        }

    def _values(self, option: str, values: Iterable[str]) -> list[str]:
        known = self.filters.get(option)
        if known is None:
            raise OptionError(
                f"{option}: the API {self.name} has no {option} to filter by.",
                f"Leave {option} out, or use another api.",
            )
        if known.values is None:
            return sorted(set(values))
        words = {word.lower(): value for word, value in known.values.items()}
        wrong = [value for value in values if value.lower() not in words]
        if wrong:
            raise OptionError(
                f"{option}: the API {self.name} knows no {', '.join(map(repr, wrong))}.",
                f"Choose from {', '.join(known.values)}.",
            )
        return sorted({words[value.lower()] for value in values})

    @property
    def filter_key(self) -> str:
        """Names the filters: each set of filters has a cursor of its own, so that widening them loses nothing."""
        return json.dumps(self.wanted, sort_keys=True) if self.wanted else ""

    @property
    def warning(self) -> str:
        """What to tell the users of an API that is on its way out; empty for the others."""
        found = self.retirement
        return f"{found.note}; use the API {found.successor} instead of {self.name}." if found else ""

    # --- how to ask ------------------------------------------------------------------------------------------------

    @abstractmethod
    def params(self, span: Span, top: int, skip: int = 0, extra: Sequence[str] = ()) -> Params:
        """The query for the events of a span, at most `top` of them, without the first `skip`.

        `extra`: more conditions in the API's own language (see part_conditions).
        """

    @abstractmethod
    def newest_params(self, span: Span, top: int) -> Params:
        """The query for the newest `top` events of a span."""

    def probe_params(self, now: int) -> Params:
        """The cheapest query that proves access: one event of the last day before `now` (ticks)."""
        return self.newest_params(Span(now - 864_000_000_000, None), 1)

    def everything_params(self, span: Span) -> Params | None:
        """A query without any limit of rows, where the API has one: the last resort for a single crowded moment."""
        return None

    def part_conditions(self, part: Part) -> list[str]:
        """A part of a moment in the API's own language."""
        return []

    def part_time(self, event: Event) -> int | None:
        """The time by which a crowded moment can be divided (ticks), None where the API has none."""
        return None

    def page_limit_in(self, text: str) -> int:
        """The most rows that the API would give, where the text of a refusal says that too many were asked for; 0."""
        return 0

    # --- what came -------------------------------------------------------------------------------------------------

    @abstractmethod
    def identify(self, fields: Fields) -> tuple[str, str]:
        """(id, update time) of a row, as Microsoft writes them; empty where it has none."""

    def event(self, raw: bytes, fields: Fields) -> Event:
        """A row as an event. Its content stands in for an id or a time that is missing; ticks are -1 then."""
        event_id, version = self.identify(fields)
        try:
            ticks = parse_time(version)
        except ValueError:
            ticks, version = -1, content_name(raw)
        return Event(ticks, event_id or content_name(raw), version, raw, self.columns(fields).packed())

    @abstractmethod
    def columns(self, fields: Fields) -> Columns:
        """What a report shows of a row. Rows may hold anything: what is of another type than expected is empty."""

    def is_wanted(self, fields: Fields) -> bool:
        """Whether a row passes the filters that the API could not apply itself."""
        if not self._local:
            return True
        return all(text_of(fields.get(field)).lower() in values for field, values in self._local.items())


class ODataSource(Source):
    """The APIs that speak OData: $filter, $top, $skip."""

    created_field: ClassVar[str]
    expand_field: ClassVar[str] = ""
    # What is answered where $top is too large (seen at github.com/wazuh/wazuh/issues/28070).
    _top_limit: ClassVar[re.Pattern[str]] = re.compile(r"limit of '?(\d+)'? for Top")

    def params(self, span: Span, top: int, skip: int = 0, extra: Sequence[str] = ()) -> Params:
        found = [("$filter", " and ".join(self._conditions(span, extra))), ("$top", str(top))]
        if skip:
            found.append(("$skip", str(skip)))
        if self.is_ordered:
            found.append(("$orderby", f"{self.time_field} asc"))
        return found + self._expansion()

    def newest_params(self, span: Span, top: int) -> Params:
        found = [("$filter", " and ".join(self._conditions(span))), ("$top", str(top))]
        if self.is_ordered:
            found.append(("$orderby", f"{self.time_field} desc"))
        return found + self._expansion()

    def _conditions(self, span: Span, extra: Sequence[str] = ()) -> list[str]:
        found = [f"{self.time_field} ge {format_time(span.low)}"]
        if span.high is not None:
            found.append(f"{self.time_field} le {format_time(span.high)}")
        for option, values in self.wanted.items():
            known = self.filters[option]
            if not known.is_local:
                terms = [f"{known.field} eq {odata_string(value)}" for value in values]
                found.append(terms[0] if len(terms) == 1 else f"({' or '.join(terms)})")
        return found + list(extra)

    def part_conditions(self, part: Part) -> list[str]:
        bounds = (("ge", part.low), ("le", part.high))
        return [f"{self.created_field} {word} {format_time(ticks)}" for word, ticks in bounds if ticks is not None]

    def part_time(self, event: Event) -> int | None:
        try:
            return parse_time(str(json.loads(event.raw).get(self.created_field)))
        except ValueError:
            return None

    def page_limit_in(self, text: str) -> int:
        found = self._top_limit.search(text)
        return int(found[1]) if found else 0

    def _expansion(self) -> Params:
        return [("$expand", self.expand_field)] if self.expand and self.expand_field else []

    def identify(self, fields: Fields) -> tuple[str, str]:
        return text_of(fields.get("id")), text_of(fields.get(self.time_field))


def device_and_account(evidence: Any, device: Any = None, account: Any = None) -> tuple[Any, Any]:
    """The first device and the first account that a list of Graph's evidence names, unless they are known already."""
    for item in evidence if isinstance(evidence, list) else ():
        if device and account:
            break
        if isinstance(item, dict):
            device = device or item.get("deviceDnsName") or item.get("hostName")
            if not account:
                user = item.get("userAccount")
                if isinstance(user, dict):
                    account = user.get("accountName") or user.get("userPrincipalName")
    return device, account


def content_name(raw: bytes) -> str:
    """The same for the text as it came and as it lies in a file."""
    return CONTENT + hashlib.sha256(one_line(raw)).hexdigest()


def odata_string(text: str) -> str:
    """A string literal; a quotation mark in it is doubled (OData 4.01 ABNF)."""
    return "'" + text.replace("'", "''") + "'"
