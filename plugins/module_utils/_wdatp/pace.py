# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When the next request may go out: an API's limit of requests, kept by all processes that ask for the same app and
tenant, and its wish to be left alone for a while (Retry-After), which all of them heed.

A place in time is taken first and waited for afterwards, so that the waits of several processes interleave, first come,
first served. Check mode takes its places like any other run: its requests are real ones.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from typing import NamedTuple

from .config import Connection
from .errors import ApiError
from .runtime import Content, Notebook
from .sources.base import Source

# A request arrives a little later than it goes out, the first of a connection most of all.
_SLACK_SECONDS = 1.0
# A server that asks for more has made a mistake.
_LONGEST_HOLD_SECONDS = 3600.0


class Limit(NamedTuple):
    """At most so many requests in any stretch of so many seconds."""

    requests: int
    seconds: float


class Wait(NamedTuple):
    """Seconds to wait before a request, and why."""

    seconds: float
    why: str = ""


def limits_of(connection: Connection, source: Source) -> list[Limit]:
    """What requests_per_minute says, else what Microsoft documents for its own hosts (see the sources)."""
    wanted = connection.http.requests_per_minute
    minute, hour = (wanted, 0) if wanted else source.rate if connection.target.is_microsoft else (0, 0)
    return [Limit(number, seconds) for number, seconds in ((minute, 60.0), (hour, 3600.0)) if number]


class Pace:
    """The pace of one API."""

    def __init__(self, notebook: Notebook, api: str, limits: Sequence[Limit]) -> None:
        self.limits = limits
        self._notebook = notebook
        self._api = api
        # The end of the hold that this run noted itself: whoever was asked to wait does so without being told again.
        self._own_hold = 0.0

    def take(self, longest: float) -> Wait:
        """How long to wait before the request that is about to go out; its place is taken from now on.

        ApiError where that is more than `longest` seconds: no place is taken then.
        """
        now = self._notebook.runtime.clock()
        return self._notebook.update(lambda content: self._take(content, now, longest), creates=bool(self.limits))

    def hold(self, seconds: float) -> None:
        """The API asks for so many seconds without requests."""
        until = self._own_hold = self._notebook.runtime.clock() + min(seconds, _LONGEST_HOLD_SECONDS)

        def note(content: Content) -> None:
            lane = self._lane(content)
            self._set_lane(content, max(until, lane["hold"]), lane["taken"])

        self._notebook.update(note, creates=True)

    def is_held(self) -> bool:
        """Whether the API has asked another run, and so this one, to wait."""
        hold = self._notebook.update(self._lane)["hold"]
        return bool(hold > max(self._notebook.runtime.clock(), self._own_hold))

    def _lane(self, content: Content) -> Content:
        """What is agreed about this API: until when it is left alone, and which places are taken, in order."""
        return content.get("pace", {}).get(self._api, {"hold": 0.0, "taken": []})  # type: ignore[no-any-return]

    def _set_lane(self, content: Content, hold: float, taken: list[float]) -> None:
        content.setdefault("pace", {})[self._api] = {"hold": hold, "taken": taken}

    def _take(self, content: Content, now: float, longest: float) -> Wait:
        lane = self._lane(content)
        taken: list[float] = lane["taken"]
        at, why, code = now, "", ""
        if lane["hold"] > max(at, self._own_hold):
            at, why, code = lane["hold"], "the API asked for it when another run was too fast", "api.throttled"
        for limit in self.limits:
            free = taken[-limit.requests] + limit.seconds + _SLACK_SECONDS if len(taken) >= limit.requests else at
            if free > at:
                at, code = free, "api.paced"
                why = f"{limit.requests} requests in {limit.seconds:.0f} s are the limit of this app and tenant"
        if at > now and at - now > longest:
            raise ApiError(
                f"The API {self._api} may be asked again in {at - now:.0f} s: {why}.",
                "Run again then; nothing is lost.",
                code=code,
                status=429,
            )
        if self.limits:
            oldest = now - max(limit.seconds for limit in self.limits) - _SLACK_SECONDS
            taken = [place for place in taken if place > oldest]
            insort(taken, round(at, 3))
            self._set_lane(content, lane["hold"], taken)
        return Wait(at - now, why)
