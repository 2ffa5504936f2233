# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the state of the jobs means: fine, a warning, or critical, in the words of monitoring plugins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .times import SECOND, now_ticks, parse_duration, parse_time

OK, WARNING, CRITICAL, UNKNOWN = range(4)
# Monitoring Plugins Development Guidelines, "Plugin Return Codes".
LEVELS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
# Days before a certificate ends.
_SECRET_WARNING, _SECRET_CRITICAL = 30, 3
# Unless told otherwise, so many intervals and at least so many seconds without success.
LATE, TOO_LATE = (3, 1800), (12, 7200)


@dataclass(frozen=True)
class Finding:
    """`level`: OK, WARNING, CRITICAL or UNKNOWN; `remedy`: what to do, or nothing."""

    level: int
    text: str
    remedy: str = ""


@dataclass(frozen=True)
class Limits:
    """Seconds behind from which on a stream is late; None: by the job's interval."""

    warning: int | None = None
    critical: int | None = None


def verdict(infos: list[dict[str, Any]], limits: Limits | None = None) -> tuple[int, list[Finding]]:
    """The exit code of a monitoring plugin, and what there is to say, the worst first."""
    if not infos:
        none = Finding(UNKNOWN, "No job is defined on this host.", "Define one with the role pull_job.")
        return UNKNOWN, [none]
    findings = [finding for info in infos for finding in _findings(info, limits or Limits())]
    # Whoever can't tell how it is says so only where nothing worse is known.
    rank = (OK, WARNING, UNKNOWN, CRITICAL)
    findings.sort(key=lambda finding: -rank.index(finding.level))
    return findings[0].level if findings else OK, findings


def _findings(info: Mapping[str, Any], limits: Limits) -> list[Finding]:
    name = info["name"]
    if info["error"]:
        level = UNKNOWN if info["error"]["code"] == "store.not_writable" else CRITICAL
        return [Finding(level, f"job {name}: {info['error']['message']}", info["error"]["remedy"])]
    if not info["enabled"]:
        return [Finding(OK, f"job {name} is disabled")]
    late = limits.warning if limits.warning is not None else _after(info, *LATE)
    too_late = limits.critical if limits.critical is not None else _after(info, *TOO_LATE)
    own = [*_of_the_run(info, late, too_late), *_of_the_outbox(info, late, too_late)]
    streams = [finding for stream in info["streams"] for finding in _of_a_stream(name, stream, late, too_late)]
    found = [*own, *streams]
    return found or [Finding(OK, _fine(info))]


def _after(info: Mapping[str, Any], intervals: int, least: int) -> int:
    return max(least, intervals * parse_duration(info["interval"], "interval") // SECOND)


def _fine(info: Mapping[str, Any]) -> str:
    run, streams = info["last_run"] or {}, info["streams"]
    lag = max((item["lag_seconds"] or 0 for item in streams), default=0)
    return f"job {info['name']}: {len(streams)} streams, at most {lag} s behind, {run.get('new', 0)} new events"


def _of_the_run(info: Mapping[str, Any], late: int, too_late: int) -> list[Finding]:
    """Whether the job runs at all: one that has stopped says nothing by itself."""
    run = info["last_run"]
    since = (run and run["ended"]) or info["defined_at"]
    age = _age(since)
    if info.get("is_running"):
        if run and _age(run["began"]) > too_late:
            return [Finding(WARNING, f"job {info['name']}: its run has been going on since {run['began']}")]
        return []
    what = f"has not finished a run since {since}" if run and run["ended"] else "has never finished a run"
    remedy = f"See systemctl status wdatp-pull@{info['name']}.timer wdatp-pull@{info['name']}.service, and journalctl."
    if age > late:
        level = CRITICAL if age > too_late or not run else WARNING
        return [Finding(level, f"job {info['name']} {what}", remedy)]
    return [] if run else [Finding(UNKNOWN, f"job {info['name']} {what}", remedy)]


def _of_the_outbox(info: Mapping[str, Any], late: int, too_late: int) -> list[Finding]:
    since = info["oldest_pending"]
    if since is None or (info.get("is_running") and _age(since) <= late):
        return []
    targets = ", ".join(item["target"] for item in info["delivery"] if item["pending"])
    level = CRITICAL if _age(since) > too_late else WARNING
    text = f"job {info['name']}: {info['pending']} events wait for {targets or 'a destination'} since {since}"
    return [Finding(level, text, "They are safe in the outbox. The job's log says what is in the way.")]


def _of_a_stream(job: str, stream: Mapping[str, Any], late: int, too_late: int) -> list[Finding]:
    who = f"job {job}, {stream['organization'] or stream['tenant_id'] or stream['credential']} ({stream['api']})"
    found = []
    lag, error = stream["lag_seconds"], stream["last_error"]
    behind = CRITICAL if (lag or 0) > too_late else WARNING if (lag or 0) > late else OK
    if error:
        level = CRITICAL if behind == CRITICAL or _age(error["since"]) > too_late else WARNING
        found.append(Finding(level, f"{who}: failing since {error['since']}: {error['message']}", error["remedy"]))
    elif behind:
        found.append(Finding(behind, f"{who}: {lag} s behind"))
    if stream["quarantined"]:
        text = f"{who}: {stream['quarantined']} moments could not be read and are tried again with each run"
        found.append(Finding(WARNING, text))
    days = stream["secret_days_left"]
    if days is not None and days < _SECRET_WARNING:
        level = CRITICAL if days < _SECRET_CRITICAL else WARNING
        text = f"{who}: what it signs in with expires on {stream['secret_expires']}"
        found.append(Finding(level, text, "Renew it, and give the new one to wdatp_credential."))
    return found


def _age(text: str) -> int:
    """Seconds since an RFC 3339 time, by this host's clock."""
    return max(0, (now_ticks() - parse_time(text)) // SECOND)
