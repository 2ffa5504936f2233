# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module itself: a stand-in for the engine below it, the real AnsibleModule above it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("ansible.module_utils.basic")

from ansible_collections.secops.defender.plugins.module_utils._wdatp import connectivity
from ansible_collections.secops.defender.plugins.module_utils._wdatp.connectivity import Report, Stage
from ansible_collections.secops.defender.plugins.module_utils._wdatp.errors import AuthError
from ansible_collections.secops.defender.plugins.modules import wdatp_test_connectivity as module

IDENTITY = {
    "tenant_id": "0f3c1f6e-8f2b-4f5e-9d6b-1c2d3e4f5a6b",
    "client_id": "6d5c4b3a-2f1e-4d0c-8b9a-7f6e5d4c3b2a",
    "client_secret": "Abc8Q~secret",
}
GOOD = Report("graph.microsoft.com", "graph_alerts", None, [Stage("resolve", True, 1, "fine")])
BAD = Report(
    "graph.microsoft.com",
    "mde_alerts",
    "Contoso",
    [Stage("resolve", False, 1, "No such Abc8Q~secret.", "Change it.")],
    error=AuthError("No such Abc8Q~secret.", "Change it.", code="auth.x"),
    warning="It retires.",
)


@pytest.fixture
def run(run_module: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """run(report, **options) -> what the module prints; `asked`: how often the engine was."""

    def play(report: Report, check: bool = False, **options: Any) -> dict[str, Any]:
        seen: list[Any] = []
        monkeypatch.setattr(connectivity, "test", lambda *arguments: (seen.append(arguments), report)[1])
        result = run_module(module.main, {**IDENTITY, **options}, check)
        return {**result, "asked": len(seen)}

    return play


@pytest.mark.parametrize("check", [False, True])
def test_what_the_engine_reports_is_returned(run: Callable[..., dict[str, Any]], check: bool) -> None:
    result = run(GOOD, check)
    assert (result.get("failed", False), result["asked"]) == (False, 1)
    assert {key: result[key] for key in GOOD.to_dict()} == GOOD.to_dict()
    assert result["changed"] is False


def test_a_failing_stage_fails_the_task(run: Callable[..., dict[str, Any]]) -> None:
    result = run(BAD)
    assert result["failed"] is True
    assert result["msg"] == "No such ********. Change it."
    assert result["error"] == {"code": "auth.x", "message": "No such ********.", "remedy": "Change it."}
    assert result["reachable"] is False
    assert "Abc8Q~secret" not in json.dumps(result)
    assert "It retires." in json.dumps(result["warnings"])


def test_the_task_may_carry_on(run: Callable[..., dict[str, Any]]) -> None:
    result = run(BAD, fail_on_error=False)
    assert (result.get("failed", False), result["reachable"]) == (False, False)
    assert result["organization"] == "Contoso"


def test_nonsense_fails_before_anything_is_asked(run: Callable[..., dict[str, Any]]) -> None:
    result = run(GOOD, fail_on_error=False, api_url="ftp://x")
    assert (result["failed"], result["asked"]) == (True, 0)
    assert "api_url: 'ftp://x' is not an https address." in result["msg"]
