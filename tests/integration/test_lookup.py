# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lookup wdatp_alerts in real plays: the newest alerts as data, and never as a template."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness import PlaybookRunner, Result
from mock_api import MockTenant
from pulls import (
    CREDENTIAL,
    LOOKUP,
    addresses,
    as_data,
    assert_no_secret,
    assert_no_traceback,
    environment,
    identity,
    rows,
)

SECRET, WRONG_SECRET = "Abc8Q~right/secret+value=& 1", "Nop8Q~none/secret+value=& 3"


def show(title: str, expression: str, **variables: Any) -> dict[str, Any]:
    """Shows what an expression gives; all that it names is in the task's variables."""
    return {"name": title, "ansible.builtin.debug": {"msg": f"{{{{ {expression} }}}}"}, "vars": variables}


def look(title: str, *terms: str, **options: Any) -> dict[str, Any]:
    """The lookup with these terms and options, which reach it through variables."""
    given = "".join([f", {term!r}" for term in terms] + [f", {name}={name}_given" for name in options])
    task = show(title, f"query('{LOOKUP}'{given})", **{f"{name}_given": value for name, value in options.items()})
    return {**task, "ignore_errors": True}


def newest(mock: MockTenant, tenant: str | None = None, api: str = "graph_alerts") -> list[dict[str, Any]]:
    return [as_data(raw) for _id, _time, raw in rows(mock, api, tenant)][::-1]


def by_id(alerts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(alerts, key=lambda alert: str(alert["id"]))


def found(result: Result, title: str) -> list[dict[str, Any]]:
    task = result[title]
    assert task.status == "ok", task.msg
    return list(task.result["msg"])


@pytest.fixture
def mock(make_mock: Callable[..., MockTenant]) -> MockTenant:
    """Each alert has a time of its own, so that there is one order only."""
    return make_mock(alerts=200, ties=1, client_secret=SECRET)


def test_the_newest_alerts_of_the_environments_identity(run_playbook: PlaybookRunner, mock: MockTenant) -> None:
    known = newest(mock)
    result = run_playbook(
        [
            look("All", since="2d", limit=1000),
            look("By default"),
            look("Ten", since="2d", limit=10),
            look("High", since="2d", severity=["high"], limit=1000),
            look("Severe and new", since="2d", severity=["high", "Medium"], status=["new"], limit=5),
            look("Category", since="2d", category=[known[0]["category"]], limit=1000),
            look("Bytes", since="2d", max_bytes=10_000),
            look("A window", since=known[20]["lastUpdateDateTime"], until=known[10]["lastUpdateDateTime"]),
            look("Nothing", since="1s", until="0s"),
            show("First", f"lookup('{LOOKUP}', since='2d', limit=1).title"),
        ],
        environment(mock),
    ).ok()
    assert found(result, "All") == known
    # Three in ten are of the last 15 minutes; a few seconds are gone by now.
    assert found(result, "By default") == known[: len(found(result, "By default"))]
    assert 30 < len(found(result, "By default")) <= 61
    assert found(result, "Ten") == known[:10]
    assert found(result, "High") == [alert for alert in known if alert["severity"] == "high"]
    severe = [alert for alert in known if alert["severity"] in ("high", "medium") and alert["status"] == "new"]
    assert found(result, "Severe and new") == severe[:5]
    assert found(result, "Category") == [alert for alert in known if alert["category"] == known[0]["category"]]
    assert found(result, "Bytes") == known[: len(found(result, "Bytes"))]
    assert 1 <= len(found(result, "Bytes")) < 6
    assert found(result, "A window") == known[10:21]
    assert found(result, "Nothing") == []
    assert result["First"].msg == known[0]["title"]
    assert "WARNING" not in result.output


def test_the_text_of_an_alert_stays_text(run_playbook: PlaybookRunner, mock: MockTenant, tmp_path: Path) -> None:
    known = {alert["id"]: alert for alert in newest(mock)}
    marked = [alert_id for alert_id, alert in known.items() if "{{ 7*7 }}" in alert["title"]]
    assert any("{{ lookup('env'" in json.dumps(alert) for alert in known.values())
    copied = tmp_path / "copied.json"
    result = run_playbook(
        [
            # Kept as a fact, passed through variables, filtered, looped over, and written to a file.
            {
                "name": "Keep",
                "ansible.builtin.set_fact": {"kept": f"{{{{ query('{LOOKUP}', since='2d', limit=999) }}}}"},
            },
            show("Kept", "again", again="{{ kept }}"),
            {
                "name": "Loop",
                "ansible.builtin.debug": {"msg": "{{ item.title }}"},
                "loop": f"{{{{ query('{LOOKUP}', since='2d', limit=999) | selectattr('id', 'in', {marked}) }}}}",
                "loop_control": {"label": "{{ item.id }}"},
            },
            {
                "name": "Copy",
                "ansible.builtin.copy": {"content": "{{ kept | to_json }}", "dest": str(copied), "mode": "0600"},
            },
            {
                "name": "Compare",
                "ansible.builtin.assert": {"that": "kept | map(attribute='title') | list | length == 200"},
            },
        ],
        environment(mock),
    ).ok()
    for alerts in (found(result, "Kept"), json.loads(copied.read_text("utf-8"))):
        assert {alert["id"]: alert for alert in alerts} == known
    titles = [item["msg"] for item in result["Loop"].result["results"]]
    assert len(titles) == len(marked) > 0
    assert all("{{ 7*7 }}" in title for title in titles)
    assert "49" not in "".join(title.partition("miner")[2][:12] for title in titles)
    assert "WARNING" not in result.output
    assert all(not task.result.get("warnings") for task in result.tasks)


def test_stored_credentials_win_over_the_environments_identity(
    run_playbook: PlaybookRunner, make_mock: Callable[..., MockTenant], config_dir: Path
) -> None:
    mock = make_mock(alerts=60, ties=1, tenants=3, client_secret=SECRET)
    tenants = [entry["tenant_id"] for entry in mock.tenants]
    app = {"client_id": mock.client_id, "client_secret": SECRET, **addresses(mock), "config_dir": str(config_dir)}
    several = [
        {"tenant_id": tenants[1], "organization": "Fabrikam"},
        {"tenant_id": tenants[2], "organization": "Adatum"},
    ]
    options = {"since": "2d", "limit": 1000}
    stored = {**options, "config_dir": str(config_dir)}
    result = run_playbook(
        [
            {"name": "Define", CREDENTIAL: {**app, "name": "fabrikam", "tenant_id": tenants[1], "organization": "One"}},
            {"name": "Define several", CREDENTIAL: {**app, "name": "customers", "tenants": several}},
            look("Environment", **options),
            look("Term", "fabrikam", **stored),
            look("Option", credential="fabrikam", **stored),
            look("Several tenants", "customers", **stored),
            look("One of them", "customers", organization="adatum", **stored),
            look("By organization", organization="One", **stored),
            look("Two terms", "fabrikam", "customers", since="2d", limit=7, config_dir=str(config_dir)),
            look("Nobody", "nobody", **stored),
            look("Both", "fabrikam", tenant_id=tenants[0], **stored),
        ],
        environment(mock),
    ).ok()
    known = [newest(mock, tenant) for tenant in tenants]
    assert found(result, "Environment") == known[0]
    for title in ("Term", "Option", "By organization"):
        assert found(result, title) == known[1]
    assert found(result, "One of them") == known[2]
    both = sorted([*known[1], *known[2]], key=lambda alert: alert["lastUpdateDateTime"], reverse=True)
    assert by_id(found(result, "Several tenants")) == by_id(both)
    assert len(found(result, "Two terms")) == 7
    assert "There is no stored credential 'nobody'" in result["Nobody"].msg
    assert "there are customers, fabrikam" in result["Nobody"].msg
    assert "credential is given together with tenant_id" in result["Both"].msg
    assert_no_secret(result, SECRET)


def test_all_four_apis(run_playbook: PlaybookRunner, mock: MockTenant) -> None:
    apis = ("graph_alerts", "graph_incidents", "mde_alerts", "alert_exporter")
    tasks = [look(api, api=api, since="2d", limit=9) for api in apis]
    tasks += [look("bare", api="mde_alerts", since="2d", limit=3, expand=False)]
    result = run_playbook(tasks, environment(mock)).ok()
    for api in apis[:3]:
        assert found(result, api) == newest(mock, api=api)[:9]
    # The rows of one alert have one time, so their order is open.
    times = [row["LastProcessedTimeUtc"] for row in newest(mock, api="alert_exporter")[:9]]
    assert [row["LastProcessedTimeUtc"] for row in found(result, "alert_exporter")] == times
    assert all("evidence" not in alert or alert["evidence"] == [] for alert in found(result, "bare"))
    # Those that Microsoft gives up are warned about, once.
    said = " ".join(result.output.split())
    assert said.count("instead of mde_alerts") == 1
    assert said.count("instead of alert_exporter") == 1


# Options, and what the message has to say.
WRONG: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "since": ({"since": "yesterday"}, ("since: 'yesterday' is neither a time nor a duration", "15m, 4h, 30d")),
    "until": ({"until": "tomorrow"}, ("until: 'tomorrow' is neither a time nor a duration",)),
    "swapped": ({"since": "1h", "until": "2h"}, ("since (1h) is not before until (2h)",)),
    "limit": ({"limit": 0}, ("limit: 0 is too small", "at least 1")),
    "severity": ({"severity": ["urgent"]}, ("severity", "'urgent'", "high")),
    "api": ({"api": "nonsense"}, ("nonsense", "api")),
    # Ansible itself would ignore it, and return all alerts.
    "an option": ({"severety": ["high"]}, ("no option severety", "Did you mean severity?")),
    "China": ({"cloud": "china"}, ("none of these alert APIs in its China cloud", "gcc_high")),
    "secret": ({"client_secret": WRONG_SECRET}, ("AADSTS7000215", "Certificates & secrets")),
    "address": ({"api_url": "https://graph.microsoft.invalid"}, ("is not known to DNS",)),
}


def test_errors_say_what_to_change(run_playbook: PlaybookRunner, mock: MockTenant) -> None:
    tasks = [look(name, retries=0, **options) for name, (options, _words) in WRONG.items()]
    result = run_playbook(tasks, environment(mock), verbosity=2).ok()
    unclear = {
        name: result[name].msg
        for name, (_options, words) in WRONG.items()
        if result[name].status != "ignored" or not all(word in result[name].msg for word in words)
    }
    assert unclear == {}
    assert_no_traceback(result)
    assert_no_secret(result, SECRET)
    assert WRONG_SECRET not in result.output


def test_a_lookup_leaves_no_trace(run_playbook: PlaybookRunner, mock: MockTenant, state_dir: Path) -> None:
    known = {**environment(mock), "WDATP_STATE_DIR": str(state_dir)}
    run_playbook([look("Look", since="2d", limit=5)], known).ok()
    assert not state_dir.exists()
    asked = [entry for entry in mock.requests if entry["leg"] == "graph_alerts"]
    # Asked is only for what is wanted.
    assert [entry["query"]["$top"] for entry in asked] == ["5"]


def test_an_identity_in_the_options(run_playbook: PlaybookRunner, mock: MockTenant) -> None:
    result = run_playbook([look("Look", since="2d", limit=3, **identity(mock))]).ok()
    assert found(result, "Look") == newest(mock)[:3]
