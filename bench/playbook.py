# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real playbooks on this host, from the checkout as it is."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench import BENCH, LOCAL, ROOT, Cost, Mock, ToolError, clean_env, costs, measuring, venv

PULL = "secops.defender.wdatp_pull_events"


@dataclass(frozen=True)
class Task:
    name: str
    seconds: float
    result: dict[str, Any]


class Playbook:
    """Runs a list of tasks. `measure`: note what each module's process costs, which takes a little time of its own."""

    def __init__(self, directory: Path, mock: Mock, measure: bool = False) -> None:
        self.directory = directory
        self.mock = mock
        self.python = venv("ansible")
        self.figures = directory / "figures.jsonl"
        self._interpreter = self._wrapper() if measure else self.python

    def pull_task(self, name: str, **options: Any) -> dict[str, Any]:
        mock, state = self.mock, self.directory / "state"
        where = {"api_url": mock.url, "authority_url": mock.url, "ca_path": mock.ca_path, "state_dir": str(state)}
        identity = {"tenant_id": mock.tenant_id, "client_id": mock.client_id}
        return {"name": name, PULL: {**where, **identity, "client_secret": mock.client_secret, **options}}

    def run(self, tasks: Sequence[dict[str, Any]]) -> list[Task]:
        times = self.directory / "times.jsonl"
        times.unlink(missing_ok=True)
        playbook = self.directory / "playbook.json"
        playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": list(tasks)}]))
        (self.directory / "ansible.cfg").touch()
        done = subprocess.run(
            [self.python.with_name("ansible-playbook"), "-i", "localhost,", "-c", "local", playbook],
            cwd=self.directory,
            env=self._env(times),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ToolError(f"The playbook failed ({done.returncode}):\n{done.stdout[-4000:]}")
        return [Task(**json.loads(line)) for line in times.read_text().splitlines()]

    def module_costs(self, module: str) -> list[Cost]:
        """What the processes of a module have cost, oldest first."""
        return [cost for command, cost in costs(self.figures) if any(f"AnsiballZ_{module}" in part for part in command)]

    def _wrapper(self) -> Path:
        """An interpreter for the modules that is Python with its costs noted."""
        path = self.directory / "python"
        command = " ".join(f"'{part}'" for part in measuring(self.figures, self.python))
        path.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        path.chmod(0o755)
        return path

    def _env(self, times: Path) -> dict[str, str]:
        work = self.directory / "ansible"
        return clean_env(
            ANSIBLE_CALLBACKS_ENABLED="task_times",
            ANSIBLE_CALLBACK_PLUGINS=BENCH / "callback",
            ANSIBLE_COLLECTIONS_PATH=_collections(),
            ANSIBLE_CONFIG=self.directory / "ansible.cfg",
            ANSIBLE_HOME=work,
            ANSIBLE_LOCAL_TEMP=work / "tmp",
            ANSIBLE_NOCOLOR="1",
            ANSIBLE_PYTHON_INTERPRETER=self._interpreter,
            ANSIBLE_REMOTE_TEMP=work / "remote",
            PATH=os.pathsep.join([str(self.python.parent), os.environ["PATH"]]),
            TASK_TIMES_FILE=times,
        )


def _collections() -> Path:
    place = LOCAL / "collections"
    link = place / "ansible_collections" / "secops" / "defender"
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(ROOT, target_is_directory=True)
    return place
