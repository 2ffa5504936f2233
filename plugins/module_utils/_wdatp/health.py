# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How each stream of a job fared: what `wdatp status` shows, and by which a stream that fails backs off alone.

Times are seconds since 1970 by this host's clock, except where Microsoft's is named.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any

from .errors import WdatpError
from .outcome import PullReport, StreamReport
from .plan import Planned
from .store import Store
from .times import SECOND, format_time

# After so many failures in a row, so many seconds pass before the next attempt; the last for all that follow.
_WAITS = (30, 60, 120, 240, 480, 900)
# What somebody else is asked for in vain is asked for less often; what is wrong on this host costs nobody anything, and
# is looked at in each run. Two of the first kind have a rule of their own (pace.py), and so has Entra ID (refusals.py).
_ASKED_FOR = ("api.", "network.", "cyberark.")
_OWN_RULE = ("api.throttled", "api.paced")
# While a run lasts, what is known is noted so often.
_SAVE_SECONDS = 30.0

Key = tuple[str, str, str]


@dataclass
class Condition:
    """A stream, as the table `health` has it. `reached`: the moment (ticks, Microsoft's clock) up to which all was
    fetched. `skew`: how far this host's clock is ahead of Microsoft's. `failures`: in a row."""

    tenant: str
    api: str
    credential: str
    organization: str | None = None
    stream: int | None = None
    attempted: int = 0
    succeeded: int | None = None
    reached: int | None = None
    skew: int = 0
    quarantined: int = 0
    failures: int = 0
    retry_at: int | None = None
    code: str | None = None
    message: str | None = None
    remedy: str | None = None
    since: int | None = None
    # Ticks.
    secret_ends: int | None = None

    @property
    def key(self) -> Key:
        return self.tenant, self.api, self.credential


_COLUMNS = tuple(item.name for item in fields(Condition))


def conditions(store: Store, job: int) -> list[Condition]:
    """All streams of a job, as they were when its last run ended. StoreError."""
    query = f"SELECT {', '.join(_COLUMNS)} FROM health WHERE job=? ORDER BY organization, tenant, api"  # noqa: S608
    return [Condition(*row) for row in store.rows(query, job)]


def last_run(store: Store, job: int) -> dict[str, Any] | None:
    """When the last run of a job began and ended (None: it has not), and its figures. StoreError."""
    rows = store.rows("SELECT began, ended, complete, figures FROM run WHERE job=?", job)
    if not rows:
        return None
    began, ended, complete, figures = rows[0]
    return {"began": began, "ended": ended, "complete": bool(complete), **json.loads(figures or "{}")}


def key_of(item: Planned) -> Key:
    return item.tenant_id.lower(), item.api, item.credential


class Health:
    """The health of a job's streams during a run of it. `insists`: nobody is held back."""

    def __init__(self, store: Store, job: int, insists: bool = False, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._job = job
        self._insists = insists
        self._clock = clock
        self._known = {item.key: item for item in conditions(store, job)}
        self._changed: dict[Key, Condition] = {}
        self._saved = time.monotonic()

    def failures(self, item: Planned) -> int:
        """How often this stream has failed in a row."""
        known = self._known.get(key_of(item))
        return 0 if known is None else known.failures

    def turn(self, item: Planned) -> tuple[bool, int]:
        """Sorts streams: first whoever was not asked for the longest time, last those that failed."""
        known = self._known.get(key_of(item))
        return (False, 0) if known is None else (known.failures > 0, known.attempted)

    def held(self, item: Planned) -> WdatpError | None:
        """The error that is not looked for again now: this stream failed with it, and has to wait."""
        known = self._known.get(key_of(item))
        if self._insists or known is None or known.retry_at is None or known.retry_at <= self._clock():
            return None
        return WdatpError(
            f"{known.message} Failing since {_time(known.since)} ({known.failures} times); the next attempt is made"
            f" after {_time(known.retry_at)}.",
            known.remedy or "",
            code=known.code or "",
        )

    # --- noting ----------------------------------------------------------------------------------------------------

    def begin(self, planned: Sequence[Planned]) -> None:
        """A run begins with these streams; those that are no more are forgotten."""
        gone = self._known.keys() - {key_of(item) for item in planned}
        with self._store.transaction():
            # What the run before came to stays until this one has ended.
            statement = "INSERT INTO run (job, began) VALUES (?,?) ON CONFLICT (job) DO UPDATE SET began=excluded.began"
            self._store.change(statement, [(self._job, int(self._clock()))])
            self._store.change(
                "DELETE FROM health WHERE job=? AND tenant=? AND api=? AND credential=?",
                [(self._job, *key) for key in sorted(gone)],
            )

    def note(self, item: Planned, report: StreamReport) -> None:
        """A stream has ended."""
        key, now = key_of(item), int(self._clock())
        before = self._known.get(key) or Condition(*key)
        changes: dict[str, Any] = {"organization": item.organization, "attempted": now}
        if report.number >= 0:
            changes["stream"] = report.number
        if report.reached is not None:
            changes.update(reached=max(report.reached, before.reached or 0), skew=report.skew or 0)
        if report.secret_ends is not None:
            changes["secret_ends"] = report.secret_ends
        if report.window is not None:
            changes["quarantined"] = report.quarantined
        changes.update(_succeeded(now) if report.error is None else _failed(before, report, report.error, now))
        self._known[key] = self._changed[key] = Condition(**{**vars(before), **changes})

    def save_now_and_then(self) -> None:
        """What was noted, into the store: a long run can be watched. StoreError."""
        if time.monotonic() > self._saved + _SAVE_SECONDS:
            with self._store.transaction():
                self._save()

    def _save(self) -> None:
        marks = ",".join("?" * len(_COLUMNS))
        statement = f"REPLACE INTO health (job, {', '.join(_COLUMNS)}) VALUES (?,{marks})"  # noqa: S608
        self._store.change(statement, [(self._job, *astuple(item)) for item in self._changed.values()])
        self._changed.clear()
        self._saved = time.monotonic()

    def end(self, report: PullReport) -> None:
        """A run has come to its end, whatever came of it. StoreError."""
        figures = report.figures()
        with self._store.transaction():
            self._save()
            self._store.change(
                "UPDATE run SET ended=?, complete=?, figures=? WHERE job=?",
                [(int(self._clock()), figures.pop("complete"), json.dumps(figures), self._job)],
            )


def _succeeded(now: int) -> dict[str, Any]:
    healthy = dict.fromkeys(("retry_at", "code", "message", "remedy", "since"))
    return {**healthy, "succeeded": now, "failures": 0}


def _failed(before: Condition, report: StreamReport, error: WdatpError, now: int) -> dict[str, Any]:
    # One that gets on, if only a little, is not stuck.
    failures = 1 if report.has_progressed else before.failures + 1
    is_asked_for = error.code.startswith(_ASKED_FOR) and error.code not in _OWN_RULE
    wait = _WAITS[min(failures, len(_WAITS)) - 1]
    return {
        "failures": failures,
        "retry_at": now + wait if is_asked_for else None,
        "code": error.code,
        "message": error.message,
        "remedy": error.remedy,
        "since": before.since if before.since is not None else now,
    }


def _time(seconds: int | None) -> str:
    return format_time((seconds or 0) * SECOND)[:19] + "Z"
