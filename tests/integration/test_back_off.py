# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several runs of one host: what Entra ID has refused for good is not asked for by each of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness import PlaybookRunner
from mock_api import MockTenant
from pulls import LOOKUP, defaults, identity, pull, steer, to

TEST = "secops.defender.wdatp_test_connectivity"
WRONG = "Wrong8Q~secret-that-never-was"


def asked(mock: MockTenant) -> list[str]:
    return [entry["leg"] for entry in mock.requests if entry["leg"] == "token"]


def test_a_wrong_secret_is_asked_about_once_and_the_right_one_at_once(
    run_playbook: PlaybookRunner, mock: MockTenant, state_dir: Path, tmp_path: Path
) -> None:
    path = tmp_path / "events.jsonl"
    wrong = {**identity(mock), "client_secret": WRONG, "destinations": to(path)}
    first = run_playbook([pull("First", **wrong, _ignore=True)], play=defaults(state_dir)).ok()["First"]
    assert first.result["error"]["code"] == "auth.invalid_secret"
    assert " since 20" not in first.msg
    assert len(asked(mock)) == 1

    lookup = f"{{{{ query('{LOOKUP}', **options) }}}}"
    tasks: list[dict[str, Any]] = [
        pull("Second", **wrong, _ignore=True),
        pull("In check mode", **wrong, _check=True, _ignore=True),
        {"name": "Look up", "ansible.builtin.set_fact": {"found": lookup}, "ignore_errors": True},
    ]
    options = {name: value for name, value in wrong.items() if name != "destinations"}
    second = run_playbook(tasks, play=defaults(state_dir), variables={"options": options}).ok()
    assert len(asked(mock)) == 1
    for name in ("Second", "In check mode"):
        task = second[name]
        assert task.result["error"]["code"] == "auth.invalid_secret"
        assert " since 20" in task.msg
        assert "the next attempt is made at 20" in task.msg
        assert "wdatp_test_connectivity tries at once" in task.result["error"]["remedy"]
        assert task.result["requests"] == 0
    assert second["Look up"].status == "ignored"
    assert WRONG not in first.msg + second.output

    right = {**identity(mock), "destinations": to(path)}
    third = run_playbook([pull("Third", **right)], play=defaults(state_dir)).ok()["Third"]
    assert third.result["written"] == 1000
    assert len(asked(mock)) == 2


def test_the_connectivity_test_tries_at_once(run_playbook: PlaybookRunner, mock: MockTenant, state_dir: Path) -> None:
    """The secret becomes right on Microsoft's side, which no run can see."""
    wrong = {**identity(mock), "client_secret": WRONG}
    tasks = [
        pull("First", _ignore=True),
        steer("Make it right", mock, "config", "PUT", secrets=[WRONG]),
        pull("Second", _ignore=True),
        {"name": "Test", TEST: {}},
        pull("Third"),
    ]
    result = run_playbook(tasks, play=defaults(state_dir, **wrong)).ok()
    assert " since 20" in result["Second"].msg
    assert result["Test"].result["reachable"] is True
    assert result["Third"].result["written"] == 1000
    assert len(asked(mock)) == 3


def test_a_pull_keeps_its_pace(run_playbook: PlaybookRunner, mock: MockTenant, state_dir: Path, tmp_path: Path) -> None:
    """No place in time is left before max_seconds: the run says so, and what it has is safe."""
    path = tmp_path / "events.jsonl"
    options = {**identity(mock), "destinations": to(path), "requests_per_minute": 3, "page_size": 100}
    task = pull("Pull", **options, max_seconds=20)
    result = run_playbook([task], play=defaults(state_dir)).ok()["Pull"].result
    assert result["complete"] is False
    assert "3 requests in 60 s" in str(result["warnings"])
    assert len(path.read_bytes().splitlines()) == result["written"] > 100
    assert [entry["leg"] for entry in mock.requests].count("graph_alerts") == 3
