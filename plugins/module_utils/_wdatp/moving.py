# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From one collector to another: a tenant's cursors and ledger in a file, so that it goes on there without a gap and
without doubles.

Whoever has given a tenant away does not pull it any more, whatever its job says: two collectors would each write what
comes. To take it back, the file is imported again.

The file is lines of JSON: for each stream its head, then the ledger, some rows a line; at the end the number of lines.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from .destinations.registry import destinations_of
from .errors import JobError
from .files import put_in_place
from .jobs import Job
from .plan import collector_of
from .status import waiting
from .store import Store
from .times import format_time, now_ticks

# The version of the file's form.
FORM = 1
_ROWS = 500
# (number, tenant, API, lateness, its day)
_Stream = tuple[int, str, str, int, int]
_LEDGER = "id, version, content, written, day"


class Moved(NamedTuple):
    """A stream that was exported or imported, and how many versions of events its ledger has there."""

    tenant_id: str
    api: str
    cursor: str | None
    versions: int


class Left(NamedTuple):
    """A tenant that has left, the collector that it belongs to by now, and the file that has to get there."""

    tenant_id: str
    collector: str
    path: str


def check_here(store: Store, stream: int, tenant_id: str) -> None:
    """JobError where this stream was given to another collector."""
    rows = store.rows("SELECT moved FROM stream WHERE id=?", stream)
    if rows and rows[0][0] is not None:
        raise JobError(
            f"The tenant {tenant_id} was exported from this collector at {rows[0][0]}, to be pulled by another one.",
            "Take it out of this job; or, to pull it here again, import the file (wdatp import).",
            code="job.moved",
        )


def export_tenant(job: Job, state_dir: str, who: str, path: str) -> list[Moved]:
    """All streams of a tenant into a file, which must not exist yet; from then on they are not pulled here any more.

    `who`: the tenant's ID, or the organization's name. JobError, StoreError.
    """
    with Store(job.state_dir(state_dir), files_below=state_dir) as store:
        streams = _streams(store, who)
        _check_delivered(store, streams, who)
        with store.transaction():
            lines = [line for stream in streams for line in _lines_of(store, stream)]
            now = format_time(now_ticks())
            store.change("UPDATE stream SET moved=? WHERE id=?", [(now, stream[0]) for stream in streams])
            # Before the commit: where it fails, the tenant stays here.
            _write(path, [*lines, {"lines": len(lines)}])
    return [_moved(line) for line in lines if "tenant" in line]


def export_leaving(job: Job, state_dir: str, directory: str) -> list[Left]:
    """The tenants that are another collector's share by now, each into a file of its own. JobError, StoreError."""
    collectors = job["collectors"] or [job["collector"]]
    with Store(job.state_dir(state_dir), files_below=state_dir) as store:
        rows = store.rows("SELECT DISTINCT tenant FROM stream WHERE moved IS NULL ORDER BY tenant")
    found = []
    for (tenant,) in rows:
        collector = collector_of(tenant, collectors)
        if collector != job["collector"]:
            path = os.path.join(directory, f"{tenant}.jsonl")
            export_tenant(job, state_dir, tenant, path)
            found.append(Left(tenant, collector, path))
    return found


def take_back(job: Job, state_dir: str, who: str) -> list[str]:
    """Pulls a tenant here again, from where it was when it left: where the other collector is lost, and its file too.
    What came in the meantime comes again. The tenants' IDs. JobError, StoreError."""
    with Store(job.state_dir(state_dir), files_below=state_dir) as store:
        streams = _streams(store, who)
        with store.transaction():
            for stream in streams:
                _let_in(store, stream[0])
    return sorted({stream[1] for stream in streams})


def import_tenants(job: Job, state_dir: str, path: str) -> list[Moved]:
    """All streams of a file into a job's store. Once more does no harm. JobError, StoreError."""
    lines = _read(path)
    with Store(job.state_dir(state_dir), files_below=state_dir) as store:
        number = _number_of_job(store, job, state_dir)
        with store.transaction():
            stream = -1
            for line in lines:
                if "tenant" in line:
                    stream = _take_in(store, number, line)
                else:
                    rows = [(stream, *row) for row in line["ledger"]]
                    store.change(f"INSERT OR IGNORE INTO ledger (stream, {_LEDGER}) VALUES (?,?,?,?,?,?)", rows)  # noqa: S608
    return [_moved(line) for line in lines if "tenant" in line]


def _moved(head: dict[str, Any]) -> Moved:
    newest = max(head["cursors"], key=lambda cursor: cursor[2], default=None)
    return Moved(head["tenant"], head["api"], newest[1] if newest else None, head["versions"])


# --- out --------------------------------------------------------------------------------------------------------------


def _streams(store: Store, who: str) -> list[_Stream]:
    query = (
        "SELECT id, tenant, api, lateness, lateness_day FROM stream AS s WHERE tenant=lower(?) OR EXISTS"
        " (SELECT 1 FROM health WHERE health.stream=s.id AND (health.tenant=lower(?)"
        " OR lower(health.organization)=lower(?))) ORDER BY api"
    )
    found = store.rows(query, who, who, who)
    if found:
        return found
    known = store.rows("SELECT DISTINCT coalesce(organization, tenant) FROM health ORDER BY 1 LIMIT 20")
    raise JobError(
        f"The job has no tenant {who!r} on this collector"
        + (f"; it has {', '.join(name for (name,) in known)}." if known else ": it has not pulled any yet."),
        "Name the tenant's ID, or its organization as the credential names it.",
        code="job.tenant",
    )


def _check_delivered(store: Store, streams: Sequence[_Stream], who: str) -> None:
    """What waits in the outbox can't be moved: its place in the order of the files is here."""
    names = {stream[1] for stream in streams}
    for stream in streams:
        names.update(row[0] for row in store.rows("SELECT tenant FROM health WHERE stream=?", stream[0]))
    size = sum(count for (tenant, _api), (count, _since) in waiting(store).items() if tenant in names)
    if size:
        raise JobError(
            f"{size} events of {who} wait for a destination on this collector.",
            "Bring the destination back and run wdatp pull, then export again.",
            code="job.pending",
        )


def _lines_of(store: Store, stream: _Stream) -> Iterator[dict[str, Any]]:
    number, tenant, api, *lateness = stream
    (count,) = store.rows("SELECT count(*) FROM ledger WHERE stream=?", number)[0]
    yield {
        "wdatp_tenant": FORM,
        "tenant": tenant,
        "api": api,
        "cursors": store.rows("SELECT filter, value, ticks FROM cursor WHERE stream=?", number),
        "quarantine": store.rows(
            "SELECT filter, low, high, since, code, message FROM quarantine WHERE stream=?", number
        ),
        "lateness": lateness,
        "versions": count,
    }
    rows = store.rows(f"SELECT {_LEDGER} FROM ledger WHERE stream=?", number)  # noqa: S608
    for start in range(0, len(rows), _ROWS):
        yield {"ledger": rows[start : start + _ROWS]}


def _write(path: str, lines: Sequence[dict[str, Any]]) -> None:
    if os.path.lexists(path):
        raise JobError(f"{path} exists already.", "Name a file that is not there yet.", code="job.file")
    try:
        put_in_place(os.path.abspath(path), "".join(json.dumps(line) + "\n" for line in lines), 0o640)
    except OSError as error:
        raise JobError(
            f"{path} can't be written: {error.strerror}.", "Name a file in a directory of yours.", code="job.file"
        ) from error


# --- in ---------------------------------------------------------------------------------------------------------------


def _read(path: str) -> list[dict[str, Any]]:
    try:
        with open(path, encoding="utf-8") as stream:
            *lines, last = [json.loads(line) for line in stream]
        is_good = last == {"lines": len(lines)} and lines[0]["wdatp_tenant"] == FORM
    except OSError as error:
        raise JobError(
            f"{path} can't be read: {error.strerror}.", "Check its name and rights.", code="job.file"
        ) from None
    except (ValueError, KeyError, IndexError, TypeError):
        is_good = False
    if not is_good:
        raise JobError(
            f"{path} is no whole file that wdatp export has written, or one of another version.",
            "Copy it once more as a whole; use the same version of the program on both collectors.",
            code="job.file",
        )
    return lines


def _number_of_job(store: Store, job: Job, state_dir: str) -> int:
    """The job's number, by which the next run finds it: by its destinations."""
    targets = [item.target for item in destinations_of(job["destinations"], state_dir)]
    number = store.job_of(targets)
    for target in targets:
        store.destination(number, target)
    return number


def _take_in(store: Store, job: int, head: dict[str, Any]) -> int:
    """The head of a stream; of two cursors the older one counts: the ledger knows what comes again."""
    stream = store.stream(job, head["tenant"], head["api"])
    _let_in(store, stream)
    lateness, day = head["lateness"]
    store.change(
        "UPDATE stream SET lateness=max(lateness, ?), lateness_day=max(lateness_day, ?) WHERE id=?",
        [(lateness, day, stream)],
    )
    store.change(
        "INSERT INTO cursor VALUES (?,?,?,?) ON CONFLICT (stream, filter) DO UPDATE SET value=excluded.value,"
        " ticks=excluded.ticks WHERE excluded.ticks<ticks",
        [(stream, *cursor) for cursor in head["cursors"]],
    )
    store.change(
        "INSERT OR IGNORE INTO quarantine VALUES (?,?,?,?,?,?,?)", [(stream, *item) for item in head["quarantine"]]
    )
    return stream


def _let_in(store: Store, stream: int) -> None:
    """A stream is pulled here from now on, and with the next run. Inside a transaction."""
    store.change("UPDATE stream SET moved=NULL WHERE id=?", [(stream,)])
    store.change("UPDATE health SET retry_at=NULL WHERE stream=?", [(stream,)])
