# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The events of a window for people: what this host received (journal.py), or what the API has now.

Moves no cursor, locks nothing, and can be asked while a pull is running.
"""

from __future__ import annotations

import heapq
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from .credentials import same_text
from .errors import OptionError, StoreError
from .files import mode_of, put_in_place
from .jobs import Job
from .journal import KEPT_DAYS, Journal, Shown
from .options import SEVERITIES
from .page import Columns
from .pull import Context
from .recent import check_limit, events_of, window_of
from .reporthtml import html_page
from .reporttable import NARROWEST, table
from .sources.base import Span
from .sources.registry import SOURCES
from .store import Store
from .times import DAY, format_time, now_ticks

_STATUSES = {
    word.lower(): word
    for source in SOURCES.values()
    if "status" in source.filters
    for word in source.filters["status"].values or ()
}
# Two APIs have another word for a severity that nobody has set.
_SEVERITIES = {**{word: word for word in SEVERITIES}, "unspecified": "unknown"}
# Half of a surrogate pair is no character, and no UTF-8 either.
_SURROGATE = re.compile("[\ud800-\udfff]")
# Where the formats say when it is: the only lines that differ when a report of "the last 15 minutes" is made anew.
_MOMENTS = {
    "json": re.compile(r'^  "(?:since|until)": .*$', re.MULTILINE),
    "table": re.compile(r"^\S+ \S+ to \S+ \S+ UTC, .*$", re.MULTILINE),
    "html": re.compile(r'^<p class="window">.*$', re.MULTILINE),
}


def report(options: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """What the options mean (options.REPORT): `events`, newest first, `counts` by severity, `total`, `notes`, `text`.

    Besides those, `job`: only what that job received; `credentials`: several, to ask the API for.

    With `dest`, writes that file, unless in check mode; `changed`: it says something else than before. OptionError,
    StoreError; with `source: api`, whatever is in the way there.
    """
    wanted = _Wanted(options)
    low, high = wanted.window
    notes: list[str] = []
    found = _received(options, wanted.window, notes) if wanted.is_store else _asked(options, context)
    events, counts = _newest(filter(wanted.fits, found), wanted.limit)
    total = sum(counts.values())
    if total > len(events):
        notes.append(f"{total - len(events)} older events are not shown: limit is {wanted.limit}.")
    result: dict[str, Any] = {
        "changed": False,
        "source": options["source"],
        "since": format_time(low),
        "until": format_time(now_ticks() if high is None else high),
        "total": total,
        "counts": counts,
        "notes": notes,
        "events": [_public(event) for event in events],
    }
    result["text"] = table(result, wanted.columns)
    if options.get("dest"):
        result["dest"] = os.path.abspath(options["dest"])
        result["changed"] = _write(result["dest"], render(result, options["format"]), options["format"], context)
    return result


def render(result: Mapping[str, Any], format_name: str) -> str:
    """What `report` found as a text in one of the formats: table, json, html."""
    if format_name == "html":
        return html_page(result)
    if format_name == "json":
        shown = {key: value for key, value in result.items() if key not in ("changed", "text", "dest")}
        return json.dumps(shown, indent=2, ensure_ascii=False) + "\n"
    return f"{result['text']}\n"


class _Wanted:
    """The options, checked before anything is read. OptionError with what to change."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.is_store = options["source"] == "store"
        self.limit = check_limit(options["limit"])
        self.columns = options["columns"]
        if self.columns < NARROWEST:
            raise OptionError(f"columns: {self.columns} is too small.", f"Give at least {NARROWEST}.")
        self.window = window_of(options, now_ticks())
        self.severities = _words(options, "severity", _SEVERITIES)
        self.statuses = _words(options, "status", _STATUSES)
        self.organizations: Sequence[str] = options.get("organization") or ()

    def fits(self, event: Shown) -> bool:
        columns = event.columns
        return (
            (not self.severities or _severity(columns.severity) in self.severities)
            and (not self.statuses or _status(columns.status) in self.statuses)
            and (not self.organizations or any(same_text(name, event.organization) for name in self.organizations))
        )


def _words(options: Mapping[str, Any], name: str, known: Mapping[str, str]) -> list[str]:
    """A filter in our own words. Whoever misspells one would read that there is nothing."""
    given = [str(word).lower() for word in options.get(name) or ()]
    wrong = [word for word in given if word not in known]
    if wrong:
        choices = ", ".join(dict.fromkeys(known.values()))
        raise OptionError(f"{name}: there is no {', '.join(map(repr, wrong))}.", f"Choose from {choices}.")
    return sorted({known[word] for word in given})


def _severity(word: str) -> str:
    """Of one vocabulary, in which the APIs agree; a word that is new to it stays what it is."""
    return _SEVERITIES.get(word.lower(), word.lower()) or "unknown"


def _status(word: str) -> str:
    return _STATUSES.get(word.lower(), word)


# --- where events come from -------------------------------------------------------------------------------------------


def _received(options: Mapping[str, Any], window: Span, notes: list[str]) -> Iterator[Shown]:
    """The events of all stores of this host, or of one job's, newest first, each once."""
    state_dir, job = options["state_dir"], options.get("job")
    kept_since = (now_ticks() // DAY - KEPT_DAYS) * DAY
    if window.low < kept_since:
        notes.append(
            f"Of events that were updated before {format_time(kept_since)[:10]}, nothing is kept for reports"
            f" ({KEPT_DAYS} days). source: api asks Microsoft."
        )
    places = [place for place in _places(state_dir) if not job or place == Job(job).state_dir(state_dir)]
    if not places:
        notes.append(f"Nothing was pulled to {state_dir} yet.")
    return _each_once(heapq.merge(*(_of_store(place, window) for place in places)))


def _places(state_dir: str) -> list[str]:
    """The directories that have a store: that of the pulls without a job, and those of the jobs. StoreError."""
    jobs = os.path.join(state_dir, "jobs")
    try:
        names = sorted(os.listdir(jobs)) if _is_there(jobs) else []
        places = [state_dir, *(os.path.join(jobs, name) for name in names)]
        return [place for place in places if _is_there(os.path.join(place, "state.db"))]
    except OSError as error:
        raise StoreError(
            f"The state can't be read at {error.filename}: {error.strerror}.",
            "Run as the user who pulls, or as root (become); or set state_dir to where the state is.",
            code="store.not_readable",
        ) from error


def _is_there(path: str) -> bool:
    """OSError where nobody can say: what may not be looked at is not nothing."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _of_store(place: str, window: Span) -> Iterator[Shown]:
    with Store(place, read_only=True) as store:
        yield from Journal(store).events(window.low, window.high)


def _each_once(events: Iterable[Shown]) -> Iterator[Shown]:
    """Two jobs may receive the same event; where a file lacked one, it was written again."""
    before: Shown | None = None
    for event in events:
        if before is None or not event.is_same_event(before):
            yield event
        before = event


def _asked(options: Mapping[str, Any], context: Context) -> Iterator[Shown]:
    """The events that the API has now."""
    queries = [
        {
            **options,
            "credential": credential,
            "organization": organization,
            "severity": _words(options, "severity", _SEVERITIES),
            "status": _words(options, "status", _STATUSES),
            # Evidence tells machine and user.
            "expand": True,
        }
        for credential in options.get("credentials") or [options.get("credential")]
        for organization in options.get("organization") or [None]
    ]
    seen: set[int] = set()
    for connection, event in events_of(queries, context):
        whose = (connection.identity.tenant_id.lower(), connection.target.api, event.id, event.version)
        # Two credentials may be of the same tenant.
        if hash(whose) not in seen:
            seen.add(hash(whose))
            columns = Columns.unpacked(event.columns)
            yield Shown(-event.ticks, *whose[:3], None, connection.organization, columns)


# --- the result -------------------------------------------------------------------------------------------------------


def _newest(events: Iterable[Shown], limit: int) -> tuple[list[Shown], dict[str, int]]:
    """The newest events, and how many of each severity there are in all."""
    counts: Counter[str] = Counter()

    def counted() -> Iterator[Shown]:
        for event in events:
            counts[_severity(event.columns.severity)] += 1
            yield event

    newest = heapq.nsmallest(limit, counted(), key=lambda event: event.age)
    return newest, {**{word: counts.pop(word, 0) for word in reversed(SEVERITIES)}, **counts}


def _public(event: Shown) -> dict[str, str | None]:
    columns = event.columns
    texts = {
        "time": format_time(event.time) if event.time >= 0 else "",
        "received": None if event.received is None else format_time(event.received),
        "severity": _severity(columns.severity),
        "title": columns.title,
        "status": _status(columns.status),
        "machine": columns.machine,
        "user": columns.user,
        "organization": event.organization,
        "id": event.id,
        "api": event.api,
        "tenant_id": event.tenant_id,
    }
    return {key: text and _SURROGATE.sub("\ufffd", text) for key, text in texts.items()}


def _write(path: str, text: str, format_name: str, context: Context) -> bool:
    """Puts the file in place, also where only its times differ; whether it says something else than before."""
    try:
        before = _content(path)
        if text != before and not context.check_mode:
            # The rights that somebody gave the file stay.
            put_in_place(path, text, mode_of(path) or 0o640)
    except OSError as error:
        raise OptionError(
            f"dest: the report can't be written to {path}: {error.strerror}.",
            "Give the path of a file in a directory that is there, and that the user who runs this may write to.",
        ) from error
    moments = _MOMENTS[format_name]
    return before is None or moments.sub("", text) != moments.sub("", before)


def _content(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="replace", newline="") as stream:
            return stream.read()
    except FileNotFoundError:
        return None
