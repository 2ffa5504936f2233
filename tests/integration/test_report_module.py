# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module wdatp_report in real plays: what was received, what the API has, and the file that it writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness import PlaybookRunner
from mock_api import MockTenant
from pulls import GROUP, assert_no_secret, assert_no_token, assert_no_traceback, identity, pull, rows, to

REPORT = "secops.defender.wdatp_report"
SECRET = "Abc8Q~report/secret+value=& 1"
ALERTS = 120


@pytest.fixture
def mock(make_mock: Callable[..., MockTenant]) -> MockTenant:
    return make_mock(alerts=ALERTS, span="20h", client_secret=SECRET)


def report(title: str, /, _check: bool = False, **options: Any) -> dict[str, Any]:
    given = {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}
    task: dict[str, Any] = {"name": title, REPORT: given, "ignore_errors": True}
    return {**task, "check_mode": True} if _check else task


def play(state_dir: Path, **options: Any) -> dict[str, Any]:
    return {"module_defaults": {GROUP: {"state_dir": str(state_dir), **options}}}


def test_what_was_received_and_what_the_api_has(
    run_playbook: PlaybookRunner, mock: MockTenant, config_dir: Path, state_dir: Path, tmp_path: Path
) -> None:
    who = {**identity(mock), "config_dir": str(config_dir)}
    result = run_playbook(
        [
            report("Before", since="21h"),
            pull("Pull", **who, destinations=to(tmp_path / "events.jsonl"), since="2d"),
            report("Received", since="21h"),
            report("High", since="21h", severity=["High"]),
            report("Few", since="21h", limit=3),
            report("Fresh", **who, source="api", since="21h"),
            pull("Pull again", **who, destinations=to(tmp_path / "events.jsonl"), since="2d"),
        ],
        play={"module_defaults": {REPORT: {"state_dir": str(state_dir)}, **_pulls_to(state_dir)}},
    ).ok()

    assert result["Before"].result["events"] == []
    received, fresh = result["Received"].result, result["Fresh"].result
    assert received["total"] == fresh["total"] == ALERTS
    expected = sorted(event_id for event_id, _time, _raw in rows(mock))
    for found in (received, fresh):
        assert not found["changed"]
        assert sorted(event["id"] for event in found["events"]) == expected
        assert sum(found["counts"].values()) == ALERTS
    assert {event["received"] for event in fresh["events"]} == {None}
    assert all(event["received"] for event in received["events"])
    high = result["High"].result
    assert high["total"] == received["counts"]["high"] > 0
    few = result["Few"].result
    assert few["events"] == received["events"][:3]
    assert few["counts"] == received["counts"]
    assert "limit is 3" in few["text"]
    # Asking has moved nothing.
    assert result["Pull again"].result["written"] == 0
    assert_no_secret(result, SECRET)
    assert_no_token(result)
    assert_no_traceback(result)


def _pulls_to(state_dir: Path) -> dict[str, Any]:
    return {"secops.defender.wdatp_pull_events": {"state_dir": str(state_dir)}}


@pytest.mark.parametrize("form", ["table", "json", "html"])
def test_the_file(run_playbook: PlaybookRunner, mock: MockTenant, state_dir: Path, tmp_path: Path, form: str) -> None:
    path = tmp_path / "report"
    wanted = {"since": "21h", "format": form, "dest": path}
    tasks = [
        pull("Pull", **identity(mock), destinations=to(tmp_path / "events.jsonl"), since="2d"),
        report("In check mode", _check=True, **wanted),
        {"name": "Look", "ansible.builtin.stat": {"path": str(path)}},
        report("First", **wanted),
        report("Second", **wanted),
    ]
    result = run_playbook(tasks, play=play(state_dir), diff=True).ok()

    assert result["In check mode"].status == "changed"
    assert result["Look"].result["stat"]["exists"] is False
    assert (result["First"].status, result["Second"].status) == ("changed", "ok")
    # A difference would be alert data in the log of whoever asks for differences.
    assert "diff" not in result["First"].result
    assert path.stat().st_mode & 0o777 == 0o640
    text = path.read_text("utf-8")
    if form == "json":
        assert len(json.loads(text)["events"]) == ALERTS
    elif form == "html":
        assert text.startswith("<!DOCTYPE html>")
        assert text.count("<tr>") == ALERTS + 1
    else:
        assert f"{ALERTS} events: " in text


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"severity": ["loud"]}, "option.invalid"),
        ({"since": "1h", "until": "2h"}, "option.invalid"),
        ({"limit": 0}, "option.invalid"),
        ({"dest": "/nowhere/at/all"}, "option.invalid"),
        ({"source": "api", "credential": "nobody"}, "credential.unknown"),
    ],
)
def test_what_is_wrong_is_said(
    run_playbook: PlaybookRunner, state_dir: Path, config_dir: Path, options: dict[str, Any], code: str
) -> None:
    result = run_playbook([report("Report", **options)], play=play(state_dir, config_dir=str(config_dir)))

    task = result["Report"]
    assert task.status == "ignored"
    assert task.result["error"]["code"] == code
    assert task.result["error"]["remedy"]
    assert_no_traceback(result)
