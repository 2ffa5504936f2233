# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`wdatp pull` and `wdatp backfill`: a run of a job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..console import ERROR, INFO, Console
from ..outcome import PullReport, StreamReport
from ..pull import Context, pull
from .choice import chosen_job

_RUN = ("config_dir", "state_dir", "since", "until")


def pull_job(options: Mapping[str, Any], console: Console) -> int:
    """0, or 1 where a tenant or a destination is in error. WdatpError where nothing could be done."""
    job = chosen_job(options)
    # Someone who types it wants it.
    insists = console.is_live or options["command"] == "backfill"
    if not job["enabled"] and not insists:
        console.say(INFO, f"job {job.name} is disabled: nothing was pulled")
        console.result({"changed": False, "skipped": True})
        return 0
    context = Context(console.redactor, console.warn, progress=_progress(console), insists=insists)
    console.passing(f"job {job.name}: begins")
    report = pull({**{name: options.get(name) for name in _RUN}, "job": job.name}, context)
    failure = report.failure()
    _tell_errors(report, console)
    result = report.to_dict()
    if failure is not None:
        result.update(failed=True, msg=str(failure), error=failure.to_dict())
    console.result(result, "" if console.quiet else f"job {job.name}: {_figures(report)}")
    return 0 if failure is None else 1


def _progress(console: Console) -> Any:
    found = {"new": 0, "failed": 0}

    def progress(stream: StreamReport, ended: int, streams: int) -> None:
        found["new"] += stream.new + stream.updated
        found["failed"] += stream.error is not None
        failed = f", {found['failed']} failed" if found["failed"] else ""
        console.passing(f"[{ended}/{streams}] {found['new']} new events{failed}; last: {_name(stream)}")

    return progress


def _name(stream: StreamReport) -> str:
    who = stream.organization or stream.tenant_id or f"credential {stream.credential}"
    return f"{who} ({stream.api})" if stream.api else who


def _tell_errors(report: PullReport, console: Console) -> None:
    for stream in report.streams:
        if stream.error is not None:
            console.say(ERROR, f"{_name(stream)}: {stream.error.message}", stream.error.remedy)
    for item in report.destinations:
        if item["error"]:
            console.say(ERROR, item["error"]["message"], item["error"]["remedy"])


def _figures(report: PullReport) -> str:
    found = report.figures()
    parts = [
        f"{found['new']} new, {found['updated']} updated, {found['duplicates']} known",
        f"{found['written']} written, {found['pending']} waiting",
        "no tenant reached" if found["lag_seconds"] is None else f"{found['lag_seconds']} s behind",
        f"{found['tenants']} tenants, {found['failed']} failed",
        f"{found['requests']} requests in {found['duration_seconds']:.1f} s",
    ]
    if found["quarantined"]:
        parts.append(f"{found['quarantined']} moments can't be read yet")
    if not found["complete"] and not found["failed"]:
        parts.append("the next run goes on: a budget ended this one, or an answer was partial")
    return "; ".join(parts)
