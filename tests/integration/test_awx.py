# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks for AWX, run by ansible-runner as AWX runs them: with an environment out of the credential type, and
with the answers to the survey.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness import ROOT
from jinja2.sandbox import ImmutableSandboxedEnvironment
from mock_api import MockTenant
from pulls import assert_delivered, truth

ansible_runner = pytest.importorskip("ansible_runner")

AWX = ROOT / "playbooks" / "files" / "awx"


class Job:
    """A job template that is launched."""

    def __init__(self, mock: MockTenant, directory: Path, collections_path: str) -> None:
        self.mock = mock
        self.directory = directory
        self.state = directory / "state"
        self._launches = 0
        # As in AWX's own guide: a project holds three lines for each playbook of the collection.
        (directory / "project").mkdir()
        (directory / "inventory").mkdir()
        host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        (directory / "inventory" / "hosts.json").write_text(json.dumps({"collectors": {"hosts": {"one": host}}}))
        self.env = {**self.injected(), "ANSIBLE_COLLECTIONS_PATH": collections_path, "ANSIBLE_LOCALHOST_WARNING": "0"}

    def injected(self) -> dict[str, str]:
        """What AWX makes of the credential type."""
        kind = yaml.safe_load((AWX / "credential_type.yml").read_text("utf-8"))
        inputs: dict[str, Any] = {
            item["id"]: False if item["type"] == "boolean" else "" for item in kind["inputs"]["fields"]
        }
        inputs.update(
            tenant_id=self.mock.tenant_id,
            client_id=self.mock.client_id,
            client_secret=self.mock.client_secret,
            api_url=self.mock.url,
            authority_url=self.mock.url,
            ca=Path(self.mock.ca_path).read_text("utf-8"),
        )
        context = {**inputs, "tower": {"filename": {"certificate": "/none", "ca": str(self.mock.ca_path)}}}
        environment = ImmutableSandboxedEnvironment()
        return {name: environment.from_string(text).render(context) for name, text in kind["injectors"]["env"].items()}

    def launch(self, playbook: str, **answers: Any) -> Any:
        """With the survey's defaults where there is no answer."""
        survey = yaml.safe_load((AWX / "surveys" / f"{playbook}.yml").read_text("utf-8"))["spec"]
        given = {item["variable"]: [] if item["type"] == "multiselect" else item["default"] for item in survey}
        # The runner would keep the environment of the launch before.
        shutil.rmtree(self.directory / "env", ignore_errors=True)
        self._launches += 1
        wrapper = self.directory / "project" / f"{playbook}.yml"
        wrapper.write_text(f"- ansible.builtin.import_playbook: secops.defender.{playbook}\n")
        return ansible_runner.run(
            private_data_dir=str(self.directory),
            playbook=wrapper.name,
            envvars=self.env,
            extravars={**given, **answers},
            ident=str(self._launches),
            quiet=True,
            verbosity=2,
        )

    def results(self, run: Any, task: str) -> dict[str, Any]:
        return next(
            event["event_data"]["res"]
            for event in run.events
            if event["event"] in ("runner_on_ok", "runner_on_failed") and event["event_data"]["task"] == task
        )

    def leaks(self) -> list[str]:
        """Files that hold the secret, but for the runner's own note of the environment (AWX masks it)."""
        secret = self.mock.client_secret.encode()
        files = [path for path in self.directory.rglob("*") if path.is_file()]
        own = set((self.directory / "env").rglob("*"))
        return [
            str(path) for path in files if path.name != "command" and path not in own and secret in path.read_bytes()
        ]


@pytest.fixture
def job(make_mock: Callable[..., MockTenant], tmp_path: Path, collections_path: str) -> Job:
    return Job(make_mock(alerts=30), tmp_path, collections_path)


def test_connectivity(job: Job) -> None:
    run = job.launch("test_connectivity")
    assert run.status == "successful"
    shown = "\n".join(job.results(run, "Show the stages of the test")["msg"])
    assert "query" in shown
    job.env["WDATP_CLIENT_SECRET"] = "wrong"
    run = job.launch("test_connectivity")
    assert run.status == "failed"
    assert "AADSTS7000215" in run.stdout.read()
    assert job.leaks() == []


def test_pull_once_then_report(job: Job) -> None:
    file = job.directory / "alerts.jsonl"
    answers = {
        "defender_hosts": "localhost",
        "defender_become": "false",
        "defender_job": "",
        "defender_file": str(file),
        "defender_state_dir": str(job.state),
        "defender_config_dir": str(job.directory / "etc"),
        "defender_since": "2d",
    }
    run = job.launch("pull_once", **answers)
    assert run.status == "successful"
    assert_delivered(file, truth(job.mock))
    # For the next node of a workflow.
    stats = next(event for event in run.events if event["event"] == "playbook_on_stats")
    figures = stats["event_data"]["artifact_data"]
    assert "new" in json.dumps(figures)
    places = {"report_state_dir": str(job.state), "report_config_dir": str(job.directory / "etc")}
    run = job.launch("report", report_hosts="collectors", report_become="false", report_since="2d", **places)
    assert run.status == "successful"
    assert any("30 events" in line for line in job.results(run, "Show the events")["msg"])
    run = job.launch("report", report_hosts="localhost", report_source="api", report_since="2d", **places)
    assert run.status == "successful"
    assert any("asked of the API" in line for line in job.results(run, "Show the events")["msg"])
    assert job.leaks() == []


def test_pull_once_that_fails_says_why(job: Job) -> None:
    job.env["WDATP_TENANT_ID"] = ""
    run = job.launch("pull_once", defender_hosts="localhost", defender_become="false", defender_job="")
    assert run.status == "failed"
    assert "No identity: tenant_id is missing" in run.stdout.read()
