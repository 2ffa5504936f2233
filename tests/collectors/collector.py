# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A booted host, the mock tenant that it pulls from, and the role that makes a collector of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness import PlaybookRunner, Result
from hosts import Host, wait_for
from mock_api import MockTenant, TenantConfig
from pulls import rows

CA_PATH = "/etc/ssl/mock.pem"
EVENTS = "/srv/siem/alerts.jsonl"
ROLE = "secops.defender.pull_job"


class Collector:
    """Nothing is deployed until `converge` is called."""

    def __init__(
        self, tree: Path, directory: Path, name: str, collections_path: Path, offline: bool = False, **knobs: Any
    ) -> None:
        self.mock = MockTenant(TenantConfig(**{"alerts": 100, **knobs}))
        self.host = Host(tree, directory / "host", name, offline)
        self.collections_path = collections_path
        # What is pulled, and where it goes.
        self.definition: dict[str, Any] = {
            "credentials": ["contoso"],
            "destinations": [{"path": EVENTS}],
            "initial_lookback": "2d",
        }
        self._directory = directory
        self._inventory = directory / "inventory.json"
        self._runs = 0

    def __enter__(self) -> Collector:
        self.mock.__enter__()
        try:
            self.host.__enter__()
        except BaseException:
            self.mock.__exit__(None, None, None)
            raise
        self.connect_as("admin")
        self.host.path(CA_PATH).write_bytes(Path(self.mock.ca_path).read_bytes())
        return self

    def __exit__(self, *exception: object) -> None:
        self.host.__exit__()
        self.mock.__exit__(None, None, None)

    def connect_as(self, user: str) -> None:
        """Whom Ansible is on the host from now on; others than root become root."""
        self._inventory.write_text(self.host.inventory(user))

    # --- the role

    @property
    def credential(self) -> dict[str, Any]:
        """The mock tenant's app registration."""
        return {"name": "contoso", "organization": "Contoso", **self.mock.options, "ca_path": CA_PATH}

    @property
    def variables(self) -> dict[str, Any]:
        """What a user would say."""
        return {"pull_job_credentials": [self.credential], "pull_job_definition": self.definition}

    def converge(
        self, variables: Mapping[str, Any] | None = None, collections_path: Path | None = None, **options: Any
    ) -> Result:
        """Play the role. `variables` are added to the usual ones, `options` are those of the runner."""
        self._runs += 1
        directory = self._directory / f"play{self._runs}"
        directory.mkdir()
        runner = PlaybookRunner(directory, collections_path or self.collections_path)
        playbook = directory / "collectors.yml"
        playbook.write_text(json.dumps([{"hosts": "collectors", "gather_facts": False, "roles": [ROLE]}]))
        given = {**self.variables, **(variables or {})}
        return runner.run_file(playbook, variables=given, more=("-i", str(self._inventory)), **options)

    # --- what it does

    def wdatp(self, command: str, check: bool = True) -> str:
        return self.host.run(f"wdatp {command}", check)

    def info(self, job: str = "default") -> dict[str, Any]:
        """What monitoring learns of a job."""
        jobs = json.loads(self.wdatp("status --json", check=False))["jobs"]
        return next(item for item in jobs if item["name"] == job)

    def lines(self, path: str = EVENTS) -> list[bytes]:
        """What was delivered: whole lines."""
        file = self.host.path(path)
        content = file.read_bytes() if file.exists() else b""
        assert content == b"" or content.endswith(b"\n")
        return content.split(b"\n")[:-1]

    def truth(self) -> list[bytes]:
        return [raw for _id, _time, raw in rows(self.mock)]

    def wait_for_all(self, path: str = EVENTS, seconds: float = 60) -> None:
        """Until everything that the tenant has was delivered: each event once, byte for byte."""
        wait_for(lambda: len(self.lines(path)) >= len(self.truth()), f"all events in {path}", seconds)
        assert sorted(self.lines(path)) == sorted(self.truth())


def changed(result: Result) -> list[str]:
    """The names of the tasks that changed something, or would."""
    return [task.name.partition(" : ")[2] for task in result.tasks if task.status == "changed"]
