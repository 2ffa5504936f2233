# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a pull, typed and validated before anything is asked or written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import OptionError
from .options import FILTERS, MAX_PARALLEL
from .sources.base import Source
from .times import DAY, MINUTE, now_ticks, parse_duration, parse_moment

# `overlap: auto` re-reads twice as far as events were seen to be late, within these bounds.
AUTO_OVERLAP = 30 * MINUTE
AUTO_OVERLAP_MOST = DAY


@dataclass(frozen=True)
class PullOptions:
    """Durations in ticks of 100 ns; `since` and `until` stay text until the server's time is known."""

    state_dir: str
    since: str | None
    until: str | None
    initial_lookback: int
    # None: auto
    overlap: int | None
    page_size: int | None
    expand: bool
    updates: str
    wanted: dict[str, list[str]]
    max_events: int | None
    max_seconds: int | None
    max_bytes: int | None
    return_events: int
    # no, report, fill
    reconcile: str
    # Tenants that are asked at the same time.
    max_parallel: int = 1
    # The job's name, where this is a run of one.
    job: str = ""
    # How often the job runs.
    interval: int | None = None
    # An event of its own after each run.
    heartbeat: bool = False

    def overlap_for(self, lateness: int) -> int:
        """How far to read back behind the cursor, where events were seen to be so late (ticks)."""
        if self.overlap is not None:
            return self.overlap
        return min(AUTO_OVERLAP_MOST, max(AUTO_OVERLAP, 2 * lateness))

    def window(self, now: int) -> tuple[int | None, int | None]:
        """(since, until) in ticks, by the server's time `now`. OptionError where they make no sense."""
        since = None if self.since is None else parse_moment(self.since, now, "since")
        until = None if self.until is None else parse_moment(self.until, now, "until")
        if since is not None and until is not None and since >= until:
            raise OptionError(
                f"since ({self.since}) is not before until ({self.until}).", "Swap them, or leave until out."
            )
        if since is None and self.reconcile != "no":
            since = max(0, (now if until is None else until) - self.initial_lookback)
        return since, until


def wanted_of(options: Mapping[str, Any]) -> dict[str, list[str]]:
    """The filters that are given: option name -> values."""
    return {option.name: list(options[option.name]) for option in FILTERS if options.get(option.name)}


def pull_options(options: Mapping[str, Any]) -> PullOptions:
    """From option values, with their defaults filled in. OptionError with what to change."""
    overlap = options.get("overlap") or "auto"
    found = PullOptions(
        state_dir=options["state_dir"],
        since=options.get("since") or None,
        until=options.get("until") or None,
        initial_lookback=parse_duration(options.get("initial_lookback") or "1d", "initial_lookback"),
        overlap=None if overlap == "auto" else parse_duration(overlap, "overlap"),
        page_size=_at_least(options, "page_size", 1),
        expand=options.get("expand") is not False,
        updates=options.get("updates") or "all",
        wanted=wanted_of(options),
        max_events=_at_least(options, "max_events", 1),
        max_seconds=_at_least(options, "max_seconds", 1),
        max_bytes=_at_least(options, "max_bytes", 1),
        return_events=_at_least(options, "return_events", 0) or 0,
        reconcile=options.get("reconcile") or "no",
        max_parallel=_at_least(options, "max_parallel", 1) or MAX_PARALLEL.default,
        job=options.get("job") or "",
        interval=parse_duration(options["interval"], "interval") if options.get("job") else None,
        heartbeat=bool(options.get("heartbeat")),
    )
    found.window(now_ticks())
    return found


def _at_least(options: Mapping[str, Any], name: str, smallest: int) -> int | None:
    value: int | None = options.get(name)
    if value is not None and value < smallest:
        raise OptionError(f"{name}: {value} is too small.", f"Give at least {smallest}, or leave it out.")
    return value


def page_size_of(wanted: int | None, source: Source) -> tuple[int, str]:
    """The page size to ask for, and a warning where it is not the one that was wanted."""
    if wanted is None:
        return source.page_default, ""
    if wanted <= source.page_limit:
        return wanted, ""
    return (
        source.page_limit,
        f"page_size {wanted} is above the limit of the API {source.name}; {source.page_limit} is used.",
    )
