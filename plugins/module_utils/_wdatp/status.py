# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the jobs of a collector are. Asks nobody but the stores, and locks nothing, so it can be asked while a job runs.

Times are seconds since 1970 inside, RFC 3339 in results.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Mapping
from typing import Any

from .errors import WdatpError
from .formats import HEARTBEAT
from .health import Condition, conditions, last_run
from .jobs import Job, JobStore
from .store import Store
from .times import DAY, SECOND, format_time


def job_infos(config_dir: str, state_dir: str, name: str | None = None) -> list[dict[str, Any]]:
    """The jobs, or one, with the state of their streams: what wdatp_pull_job_info returns. JobError.

    What can't be read of one job is that job's `error`.
    """
    store = JobStore(config_dir)
    jobs: list[Job | dict[str, Any]]
    jobs = [store.load(name)] if name else [_loaded(store, known) for known in store.names()]
    return [_info(store, job, state_dir) if isinstance(job, Job) else job for job in jobs]


def _loaded(store: JobStore, name: str) -> Job | dict[str, Any]:
    try:
        return store.load(name)
    except WdatpError as error:
        return {"name": name, **_nothing(), "error": error.to_dict()}


def _nothing() -> dict[str, Any]:
    return {"last_run": None, "pending": 0, "oldest_pending": None, "delivery": [], "streams": [], "error": None}


def _info(store: JobStore, job: Job, state_dir: str) -> dict[str, Any]:
    info = {**job.describe(), **_nothing(), "defined_at": _text(os.stat(store.path(job.name)).st_mtime)}
    place = job.state_dir(state_dir)
    try:
        with Store(place, read_only=True, files_below=state_dir) as opened:
            info.update(_state(opened))
            info["is_running"] = _is_locked(place)
    except WdatpError as error:
        info["error"] = error.to_dict()
    return info


def _is_locked(place: str) -> bool:
    """Whether a run is under way: it has the store's lock."""
    try:
        handle = os.open(os.path.join(place, "lock"), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _state(store: Store) -> dict[str, Any]:
    outbox = waiting(store)
    rows = store.rows("SELECT job, began FROM run ORDER BY began DESC LIMIT 1")
    job = rows[0][0] if rows else -1
    run = last_run(store, job)
    if run is not None:
        run["began"], run["ended"] = _text(run["began"]), _text(run["ended"])
    return {
        "last_run": run,
        "pending": sum(size for size, _since in outbox.values()),
        "oldest_pending": min((since for _size, since in outbox.values()), default=None),
        "delivery": _delivery(store, job),
        "streams": [_stream(store, item, outbox) for item in conditions(store, job)],
    }


def waiting(store: Store) -> dict[tuple[str, str], tuple[int, str]]:
    """(tenant, api) -> how many events wait in the outbox, and since when. What all have is not there."""
    found: dict[tuple[str, str], tuple[int, str]] = {}
    for text, size, since in store.rows("SELECT origin, sum(size), min(received_at) FROM batch GROUP BY origin"):
        origin = json.loads(text)
        if origin["api"] != HEARTBEAT:
            key = (str(origin["tenant_id"]).lower(), origin["api"])
            known, before = found.get(key, (0, since))
            found[key] = (known + size, min(since, before))
    return found


def _delivery(store: Store, job: int) -> list[dict[str, Any]]:
    query = (
        "SELECT target, (SELECT coalesce(sum(size), 0) FROM batch WHERE batch.job=d.job AND batch.id>d.acked"
        " AND coalesce(batch.destination, d.id)=d.id) FROM destination AS d WHERE job=? ORDER BY id"
    )
    return [{"target": store.path_of(target), "pending": pending} for target, pending in store.rows(query, job)]


def _stream(store: Store, item: Condition, outbox: Mapping[tuple[str, str], tuple[int, str]]) -> dict[str, Any]:
    now = time.time()
    ends = None if item.secret_ends is None else item.secret_ends // SECOND
    return {
        "tenant_id": item.tenant,
        "organization": item.organization,
        "credential": item.credential or None,
        "api": item.api,
        "cursor": _cursor(store, item.stream),
        "lag_seconds": None if item.reached is None else max(0, int(now) - item.skew - item.reached // SECOND),
        "last_attempt": _text(item.attempted),
        "last_success": _text(item.succeeded),
        "last_error": _error(item),
        "failures": item.failures,
        "next_attempt": _text(item.retry_at),
        "pending": outbox.get((item.tenant, item.api), (0, ""))[0],
        "quarantined": item.quarantined,
        "secret_expires": _text(ends),
        "secret_days_left": None if ends is None else int((ends - now) // (DAY // SECOND)),
    }


def _cursor(store: Store, stream: int | None) -> str | None:
    rows = store.rows("SELECT value FROM cursor WHERE stream=? ORDER BY ticks DESC LIMIT 1", stream)
    return rows[0][0] if rows else None


def _error(item: Condition) -> dict[str, Any] | None:
    if item.code is None:
        return None
    return {"code": item.code, "message": item.message, "remedy": item.remedy, "since": _text(item.since)}


def _text(seconds: float | None) -> str | None:
    return None if seconds is None else format_time(int(seconds) * SECOND)[:19] + "Z"
