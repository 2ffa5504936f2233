# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What came of a pull: its figures, in the form of the return values, and one error for all that went wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .errors import WdatpError
from .times import format_time
from .transport import Counters

FIGURES = ("fetched", "new", "updated", "duplicates", "written", "requests", "throttled", "retried", "quarantined")
# So many ids of missing events are named.
_MOST_IDS = 1000
# So many tenants in error are named in one message.
_MOST_NAMED = 20


@dataclass
class Reconciled:
    """The events of a window, as the API gives them, against what was delivered before this run.

    `left_out`: what `updates` keeps from the destinations; `filled`: what was missing and went there in this run.
    """

    api: int = 0
    delivered: int = 0
    left_out: int = 0
    missing: int = 0
    filled: int = 0
    ids: list[str] = field(default_factory=list)

    def note_missing(self, event_id: str) -> None:
        self.missing += 1
        if len(self.ids) < _MOST_IDS:
            self.ids.append(event_id)

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))


def total(parts: list[Reconciled]) -> Reconciled:
    found = Reconciled()
    for part in parts:
        for name in ("api", "delivered", "left_out", "missing", "filled"):
            setattr(found, name, getattr(found, name) + getattr(part, name))
        found.ids = (found.ids + part.ids)[:_MOST_IDS]
    return found


def _largest(each: list[dict[str, Any]], name: str) -> int | None:
    return max((entry[name] for entry in each if entry[name] is not None), default=None)


@dataclass
class StreamReport:
    """What came of one tenant and one API."""

    tenant_id: str
    organization: str | None
    api: str
    credential: str = ""
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
    # How long ago the newest event was updated, by Microsoft's clock; None: none was ever seen.
    silent_seconds: int | None = None
    counters: Counters = field(default_factory=Counters)
    error: WdatpError | None = None
    reconciled: Reconciled | None = None
    # (from, until) that was asked for, in ticks; None: not even that was known.
    window: tuple[int, int | None] | None = None
    # Its number in the store.
    number: int = -1
    # The moment up to which all was fetched (ticks), by Microsoft's clock, and how far this host's is ahead (seconds).
    reached: int | None = None
    skew: int | None = None
    # When what it signs in with expires (ticks); None where nobody can know, as for a secret.
    secret_ends: int | None = None
    # It was not asked this time: a budget was used up, or it failed before, and `error` is what it failed with.
    is_held: bool = False

    @property
    def has_progressed(self) -> bool:
        return bool(self.new or self.updated) or self.before != self.after

    def to_dict(self) -> dict[str, Any]:
        found = {
            "tenant_id": self.tenant_id,
            "organization": self.organization,
            "credential": self.credential or None,
            "api": self.api,
            "fetched": self.new + self.updated + self.duplicates,
            "new": self.new,
            "updated": self.updated,
            "duplicates": self.duplicates,
            "written": self.written,
            "complete": self.complete,
            "cursor": {"before": self.before, "after": self.after},
            "lag_seconds": self.lag_seconds,
            "silent_seconds": self.silent_seconds,
            "requests": self.counters.requests,
            "throttled": self.counters.throttled,
            "retried": self.counters.retried,
            "quarantined": self.quarantined,
            "error": self.error.to_dict() if self.error else None,
        }
        if self.reconciled is not None:
            found["reconciled"] = self.reconciled.to_dict()
        return found

    def for_manifest(self) -> dict[str, Any]:
        """What the manifest keeps, apart from what was written."""
        found = self.to_dict()
        names = ("tenant_id", "organization", "api", "fetched", "new", "updated", "duplicates", "complete")
        entry = {name: found[name] for name in names}
        if self.window is not None:
            low, high = self.window
            entry["window"] = [format_time(low), None if high is None else format_time(high)]
        entry["cursor"] = self.after
        if self.error is not None:
            entry["error"] = self.error.code
        if self.quarantined:
            entry["quarantined"] = self.quarantined
        return entry


@dataclass
class PullReport:
    """What came of a run."""

    streams: list[StreamReport]
    destinations: list[dict[str, Any]] = field(default_factory=list)
    pending: int = 0
    caught_up: int = 0
    duration_seconds: float = 0.0
    events: list[Any] = field(default_factory=list)
    # The manifest's path, and the run and sha256 of this run's entry; after it was read, also what was wrong with it.
    manifest: dict[str, Any] = field(default_factory=dict)

    def figures(self) -> dict[str, Any]:
        """What a run came to, in a few numbers."""
        found = self.to_dict()
        failed = sum(stream.error is not None for stream in self.streams)
        names = (*FIGURES, "pending", "complete", "lag_seconds", "duration_seconds")
        return {**{name: found[name] for name in names}, "tenants": len(self.streams), "failed": failed}

    def to_dict(self) -> dict[str, Any]:
        """The return values of wdatp_pull_events."""
        each = [stream.to_dict() for stream in self.streams]
        totals = {name: sum(entry[name] for entry in each) for name in FIGURES}
        found = {
            "changed": any(stream.chosen for stream in self.streams) or self.caught_up > 0,
            **totals,
            "pending": self.pending,
            "complete": all(stream.complete for stream in self.streams),
            "streams": each,
            "lag_seconds": _largest(each, "lag_seconds"),
            "silent_seconds": _largest(each, "silent_seconds"),
            "duration_seconds": round(self.duration_seconds, 3),
            "destinations": self.destinations,
            "manifest": self.manifest,
            "events": self.events,
        }
        if len(each) == 1:
            found["cursor"] = each[0]["cursor"]
        reconciled = [stream.reconciled for stream in self.streams if stream.reconciled is not None]
        if reconciled:
            found["reconciled"] = total(reconciled).to_dict()
        return found

    def failure(self) -> WdatpError | None:
        """One error for all that went wrong, which also says what is safe; None where nothing did."""
        wrong = [stream for stream in self.streams if stream.error is not None]
        unwritten = [item for item in self.destinations if item["error"]]
        if not wrong and not unwritten:
            return None
        texts, remedies = [], []
        for stream in wrong[:_MOST_NAMED]:
            name = f"{stream.organization or stream.tenant_id}: " if len(self.streams) > 1 else ""
            texts.append(f"{name}{stream.error.message}")  # type: ignore[union-attr]
            remedies.append(stream.error.remedy)  # type: ignore[union-attr]
        if len(wrong) > _MOST_NAMED:
            texts.append(f"And {len(wrong) - _MOST_NAMED} tenants more are in error: see streams.")
        for item in unwritten:
            texts.append(item["error"]["message"])
            remedies.append(item["error"]["remedy"])
        first = wrong[0].error.code if wrong and wrong[0].error else unwritten[0]["error"]["code"]
        return WdatpError(" ".join([*texts, self._safe()]), " ".join(dict.fromkeys(remedies)), code=first)

    def _safe(self) -> str:
        written = sum(stream.written for stream in self.streams)
        text = f"Written and safe in this run: {written} events; the next run goes on from there, nothing is lost."
        return text + (f" Waiting in the outbox: {self.pending} events." if self.pending else "")
