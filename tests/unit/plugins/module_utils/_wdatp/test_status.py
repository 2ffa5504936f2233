# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the state of jobs means: for a monitoring plugin, and for Prometheus."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp.metrics import prometheus
from ansible_collections.secops.defender.plugins.module_utils._wdatp.status import job_infos
from ansible_collections.secops.defender.plugins.module_utils._wdatp.verdict import (
    CRITICAL,
    OK,
    UNKNOWN,
    WARNING,
    Limits,
    verdict,
)

MINUTE, HOUR, DAY = 60, 3600, 86400


def ago(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - seconds))


def stream(**changes: Any) -> dict[str, Any]:
    healthy = {
        "tenant_id": "0f3c1f6e-8f2b-4f5e-9d6b-1c2d3e4f5a6b",
        "organization": "Contoso",
        "credential": "contoso",
        "api": "graph_alerts",
        "cursor": "2026-11-24T08:00:00Z",
        "lag_seconds": 100,
        "last_attempt": ago(100),
        "last_success": ago(100),
        "last_error": None,
        "failures": 0,
        "next_attempt": None,
        "pending": 0,
        "quarantined": 0,
        "secret_expires": None,
        "secret_days_left": None,
    }
    return {**healthy, **changes}


def job(*streams: dict[str, Any], **changes: Any) -> dict[str, Any]:
    healthy = {
        "name": "default",
        "enabled": True,
        "interval": "5m",
        "defined_at": ago(30 * DAY),
        "is_running": False,
        "last_run": {"began": ago(101), "ended": ago(100), "complete": True, "new": 3, "failed": 0},
        "pending": 0,
        "oldest_pending": None,
        "delivery": [{"target": "/srv/events.jsonl", "pending": 0}],
        "error": None,
        "streams": list(streams) or [stream()],
    }
    return {**healthy, **changes}


def ran(seconds: float) -> dict[str, Any]:
    return {"began": ago(seconds + 1), "ended": ago(seconds), "complete": True}


def failing(seconds: float) -> dict[str, Any]:
    return {"code": "auth.refused", "message": "Refused.", "remedy": "Renew the secret.", "since": ago(seconds)}


@pytest.mark.parametrize(
    ("info", "code", "text"),
    [
        (job(), OK, "1 streams, at most 100 s behind"),
        (job(enabled=False, last_run=None), OK, "disabled"),
        # A job that has stopped.
        (job(last_run=ran(20 * MINUTE)), OK, ""),
        (job(last_run=ran(HOUR)), WARNING, "has not finished a run since"),
        (job(last_run=ran(3 * HOUR)), CRITICAL, "has not finished a run since"),
        (job(last_run=ran(2 * HOUR), interval="1h"), OK, ""),
        (job(last_run=ran(4 * HOUR), interval="1h"), WARNING, "has not finished"),
        (job(last_run=None), CRITICAL, "has never finished a run"),
        (job(last_run=None, defined_at=ago(60)), UNKNOWN, "has never finished a run"),
        # One that is under way.
        (job(last_run={**ran(5 * HOUR), "began": ago(60)}, is_running=True), OK, ""),
        (job(last_run={**ran(9 * HOUR), "began": ago(8 * HOUR)}, is_running=True), WARNING, "has been going on since"),
        # Its streams.
        (job(stream(lag_seconds=HOUR)), WARNING, "Contoso (graph_alerts): 3600 s behind"),
        (job(stream(lag_seconds=3 * HOUR)), CRITICAL, "10800 s behind"),
        (job(stream(last_error=failing(60))), WARNING, "failing since"),
        (job(stream(last_error=failing(3 * HOUR))), CRITICAL, "failing since"),
        (job(stream(last_error=failing(60), lag_seconds=3 * HOUR)), CRITICAL, "failing since"),
        (job(stream(quarantined=2)), WARNING, "2 moments"),
        (job(stream(secret_expires=ago(-20 * DAY), secret_days_left=20)), WARNING, "expires on"),
        (job(stream(secret_expires=ago(-2 * DAY), secret_days_left=2)), CRITICAL, "expires on"),
        (job(stream(secret_expires=ago(-99 * DAY), secret_days_left=99)), OK, ""),
        # Its outbox.
        (job(pending=7, oldest_pending=ago(60), delivery=[{"target": "/a", "pending": 7}]), WARNING, "wait for /a"),
        (job(pending=7, oldest_pending=ago(3 * HOUR), delivery=[{"target": "/a", "pending": 7}]), CRITICAL, "/a"),
        (job(pending=7, oldest_pending=ago(60), is_running=True), OK, ""),
        # Its store.
        (job(error={"code": "store.corrupt", "message": "Corrupt.", "remedy": "Run."}), CRITICAL, "Corrupt."),
        (job(error={"code": "store.not_writable", "message": "No right.", "remedy": "Ask."}), UNKNOWN, "No right."),
    ],
)
def test_verdict(info: dict[str, Any], code: int, text: str) -> None:
    found, findings = verdict([info])
    assert (found, findings[0].level) == (code, code)
    assert text in findings[0].text
    assert "job default" in findings[0].text


def test_the_worst_comes_first_and_names_its_remedy() -> None:
    good, bad = job(stream(quarantined=1)), job(stream(), stream(last_error=failing(DAY)), name="second")
    code, findings = verdict([good, bad])
    assert (code, [finding.level for finding in findings]) == (CRITICAL, [CRITICAL, WARNING])
    assert findings[0].remedy == "Renew the secret."
    assert "job second" in findings[0].text


def test_limits_can_be_told() -> None:
    assert verdict([job(stream(lag_seconds=100))], Limits(warning=90, critical=200))[0] == WARNING
    assert verdict([job(stream(lag_seconds=100))], Limits(warning=10, critical=90))[0] == CRITICAL


def test_no_job_is_not_fine(tmp_path: Any) -> None:
    assert job_infos(str(tmp_path), str(tmp_path)) == []
    assert verdict([])[0] == UNKNOWN


def test_metrics_are_prometheus_text() -> None:
    """By the exposition format's own grammar, whatever a customer's name is."""
    evil = 'a"b\\c\nd{}'
    text = prometheus([job(stream(organization=evil), stream(lag_seconds=None)), job(error={"code": "x"}, streams=[])])
    sample = re.compile(r'[a-z_]+\{(?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)*\} -?[0-9.e+]+')
    seen = set()
    for line in text.splitlines():
        if line.startswith("#"):
            assert re.fullmatch(r"# (?:HELP|TYPE) wdatp_[a-z_]+ .+", line)
        else:
            assert sample.fullmatch(line), line
            assert line not in seen
            seen.add(line)
    assert 'organization="a\\"b\\\\c\\nd{}"' in text
    assert text.endswith("\n")
    # What nobody knows is left out.
    assert text.count("wdatp_stream_reached_timestamp_seconds{") == 1
