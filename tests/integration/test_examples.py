# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples in the documentation work: as they stand, but for paths and become, against a mock tenant.

The tenants and the app registration of the examples exist in it; addresses and directories come from the environment.
"""

from __future__ import annotations

import ast
import json
import shutil
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness import ROOT, PlaybookRunner, Result
from mock_api import MockTenant, TenantConfig
from pulls import assert_no_secret, assert_no_traceback, environment, rows

TENANT, OTHER = "0f3c1f6e-8f2b-4f5e-9d6b-1c2d3e4f5a6b", "4b0d7a52-3c1e-4e8f-a7d9-5b6c7d8e9f01"
CLIENT = "6d5c4b3a-2f1e-4d0c-8b9a-7f6e5d4c3b2a"
SECRET = "Abc8Q~right/secret+value=& 1"
PLUGINS = sorted(path for kind in ("modules", "lookup") for path in (ROOT / "plugins" / kind).glob("[!_]*.py"))
# Examples that need more than there is here: plugin and task -> why.
CANNOT: dict[str, str] = {}
# This one fails by design where there are such alerts.
GUARD = "wdatp_alerts: Stop a rollout while there are new alerts of high severity"


def examples(plugin: Path) -> str:
    """The text of EXAMPLES, which a plugin's file has as one literal."""
    for node in ast.parse(plugin.read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "EXAMPLES":
            return str(ast.literal_eval(node.value))
    raise AssertionError(f"{plugin} has no EXAMPLES")


def titles(plugin: Path) -> list[str]:
    return [f"{plugin.stem}: {task['name']}" for task in yaml.safe_load(examples(plugin))]


ALL = [title for plugin in PLUGINS for title in titles(plugin)]


def moved(value: Any, directory: Path) -> Any:
    """The same with all absolute paths below this directory."""
    if isinstance(value, dict):
        return {key: moved(item, directory) for key, item in value.items()}
    if isinstance(value, list):
        return [moved(item, directory) for item in value]
    return f"{directory}{value}" if isinstance(value, str) and value.startswith("/") else value


def runnable(plugin: Path, directory: Path) -> list[dict[str, Any]]:
    """The examples of a plugin as tasks that a test may run."""
    tasks = []
    for task in yaml.safe_load(examples(plugin)):
        title = f"{plugin.stem}: {task['name']}"
        rest = {key: value for key, value in moved(task, directory).items() if key != "become"}
        if title not in CANNOT:
            tasks.append({**rest, "name": title, "ignore_errors": True})
    return tasks


@pytest.fixture(scope="module")
def mock() -> Iterator[MockTenant]:
    tenants = [{"domain": "contoso.onmicrosoft.com"}, {"tenant_id": OTHER}]
    config = TenantConfig(alerts=60, tenant_id=TENANT, client_id=CLIENT, client_secret=SECRET, tenants=tenants)
    with MockTenant(config) as found:
        yield found


@pytest.fixture(scope="module")
def directory(mock: MockTenant, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the examples take for granted, under `/`."""
    root = tmp_path_factory.mktemp("root")
    for path in ("var/log/defender", "run/secrets", "etc/wdatp", "home"):
        (root / path).mkdir(parents=True)
    (root / "run/secrets/contoso").write_text(f"{SECRET}\n", "utf-8")
    shutil.copy(mock.client_certificate_path, root / "etc/wdatp/agency.pem")
    return root


@pytest.fixture(scope="module")
def played(
    mock: MockTenant, directory: Path, tmp_path_factory: pytest.TempPathFactory, collections_path: str
) -> Result:
    """One playbook: a play for each plugin, before which the first of all examples defines the credential."""
    first = next(plugin for plugin in PLUGINS if plugin.stem == "wdatp_credential")
    define = {**runnable(first, directory)[0], "name": "Define"}
    plays = [
        {"hosts": "localhost", "gather_facts": False, "tasks": [define, *runnable(plugin, directory)]}
        for plugin in PLUGINS
    ]
    work = tmp_path_factory.mktemp("play")
    playbook = work / "examples.yml"
    playbook.write_text(json.dumps(plays), "utf-8")
    known = {
        **environment(mock),
        "WDATP_CONFIG_DIR": f"{directory}/etc/wdatp",
        "WDATP_STATE_DIR": f"{directory}/var/lib/wdatp",
    }
    secrets = ("vault_contoso_client_secret", "vault_customers_client_secret", "vault_defender_secret")
    variables = {**dict.fromkeys(secrets, SECRET), "ansible_env": {"HOME": f"{directory}/home"}}
    return PlaybookRunner(work / "runs", collections_path).run_file(playbook, known, variables=variables)


def test_the_syntax_of_all(run_playbook: PlaybookRunner, tmp_path: Path) -> None:
    """As they are printed, which is as they are copied."""
    text = "".join(
        f"- name: {plugin.stem}\n  hosts: localhost\n  tasks:\n{textwrap.indent(examples(plugin), '    ')}"
        for plugin in PLUGINS
    )
    playbook = tmp_path / "examples.yml"
    playbook.write_text(text, "utf-8")
    result = run_playbook.run_file(playbook, more=["--syntax-check"]).ok()
    assert "WARNING" not in result.output


@pytest.mark.parametrize("title", ALL)
def test_an_example(title: str, played: Result, mock: MockTenant) -> None:
    if title in CANNOT:
        pytest.skip(CANNOT[title])
    task = played[title]
    if title == GUARD:
        alerts = [json.loads(raw) for _id, _time, raw in rows(mock)]
        assert any(alert["severity"] == "high" and alert["status"] == "new" for alert in alerts)
        assert (task.status, task.msg) == ("ignored", "There are new alerts of high severity.")
    else:
        assert task.status in ("ok", "changed"), task.msg


def test_they_do_what_they_say(played: Result, mock: MockTenant, directory: Path) -> None:
    shown = played["wdatp_pull_events: Show what came"].msg
    pulled = played["wdatp_pull_events: Pull the alerts of a stored credential"].result
    assert pulled["new"] > 0
    assert shown.startswith(f"{pulled['new']} new, 0 updated, ")
    again = played["wdatp_pull_events: Fetch the last 30 days once more; what is known is not written again"].result
    assert again["new"] + again["duplicates"] == 60
    assert len((directory / "var/log/defender/alerts.jsonl").read_bytes().splitlines()) == 60
    assert (directory / "home/wdatp/events.jsonl").stat().st_size > 0
    stages = played["wdatp_test_connectivity: Show the stages"].result["results"]
    assert [item["item"]["name"] for item in stages][-2:] == ["permissions", "query"]
    recent = played["wdatp_alerts: Show the serious alerts of the last 15 minutes"].result["results"]
    assert {item["item"]["severity"] for item in recent} == {"high", "medium"}
    removed = played["wdatp_credential: Remove a credential and its secret"]
    assert removed.status == "changed"
    assert_no_traceback(played)


def test_they_show_no_secret(played: Result) -> None:
    assert_no_secret(played, SECRET)
