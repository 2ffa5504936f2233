# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of the jobs for Prometheus: a file for the textfile collector of its node exporter."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from .times import SECOND, parse_duration, parse_time

_Values = list[tuple[Mapping[str, str], Any]]


def prometheus(infos: list[dict[str, Any]]) -> str:
    """The same in Prometheus' text format (prometheus.io/docs/instrumenting/exposition_formats), for a textfile."""
    lines = []
    for name, about, values in _metrics(infos):
        known = [(labels, value) for labels, value in values if value is not None]
        if known:
            lines += [f"# HELP wdatp_{name} {about}", f"# TYPE wdatp_{name} gauge"]
            lines += [f"wdatp_{name}{{{_labels(labels)}}} {value}" for labels, value in known]
    return "\n".join([*lines, ""])


def _metrics(infos: list[dict[str, Any]]) -> list[tuple[str, str, _Values]]:
    def of_job(value: Callable[[Mapping[str, Any]], Any]) -> _Values:
        return [({"job_name": info["name"]}, value(info)) for info in infos if not info["error"]]

    def of_run(name: str) -> _Values:
        return of_job(lambda info: (info["last_run"] or {}).get(name))

    def of_stream(value: Callable[[Mapping[str, Any]], Any]) -> _Values:
        return [(_who(info, stream), value(stream)) for info in infos for stream in info["streams"]]

    return [
        (
            "job_error",
            "1 where the job's state can't be read",
            [({"job_name": info["name"]}, int(bool(info["error"]))) for info in infos],
        ),
        ("job_enabled", "1 where the job is enabled", of_job(lambda info: int(info["enabled"]))),
        ("job_interval_seconds", "how often the job runs", of_job(_interval)),
        ("job_last_run_timestamp_seconds", "when the last run ended", of_job(lambda info: _seconds(_ended(info)))),
        ("job_last_run_duration_seconds", "how long it took", of_run("duration_seconds")),
        ("job_last_run_new_events", "new alerts in it", of_run("new")),
        ("job_last_run_updated_events", "updated alerts in it", of_run("updated")),
        ("job_last_run_requests", "requests in it", of_run("requests")),
        ("job_last_run_failed_streams", "streams that failed in it", of_run("failed")),
        ("job_pending_events", "events in the outbox", of_job(lambda info: info["pending"])),
        ("stream_reached_timestamp_seconds", "up to when all alerts were fetched", of_stream(_reached)),
        ("stream_last_success_timestamp_seconds", "last success", of_stream(lambda it: _seconds(it["last_success"]))),
        ("stream_failing", "1 where the last attempt failed", of_stream(lambda it: int(bool(it["last_error"])))),
        ("stream_quarantined_moments", "moments that can't be read yet", of_stream(lambda it: it["quarantined"])),
        ("stream_pending_events", "events in the outbox", of_stream(lambda it: it["pending"])),
        (
            "stream_secret_expiry_timestamp_seconds",
            "end of a certificate",
            of_stream(lambda it: _seconds(it["secret_expires"])),
        ),
    ]


def _interval(info: Mapping[str, Any]) -> int:
    return parse_duration(info["interval"], "interval") // SECOND


def _ended(info: Mapping[str, Any]) -> str | None:
    ended: str | None = (info["last_run"] or {}).get("ended")
    return ended


def _reached(stream: Mapping[str, Any]) -> int | None:
    return None if stream["lag_seconds"] is None else int(time.time()) - int(stream["lag_seconds"])


def _seconds(text: str | None) -> int | None:
    return None if text is None else parse_time(text) // SECOND


def _who(info: Mapping[str, Any], stream: Mapping[str, Any]) -> dict[str, str]:
    names = ("tenant_id", "organization", "api", "credential")
    return {"job_name": info["name"], **{name: stream[name] or "" for name in names}}


def _labels(labels: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
