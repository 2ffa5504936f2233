# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a real ansible-playbook and reads what each task returned.

    run = PlaybookRunner(tmp_path, collections_path)
    result = run([{"name": "Define", "secops.defender.wdatp_credential": {"name": "contoso"}}], check=True)
    result["Define"].result["changed"]

Tests get a runner from the fixture `run_playbook`, see conftest.py.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
_PLUGINS = Path(__file__).resolve().parent / "plugins"
# What the developer's own environment must not decide.
_FOREIGN = ("ANSIBLE_", "WDATP_", "AZURE_", "MSAL_", "PYTHON")
_FOREIGN_NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "requests_ca_bundle", "curl_ca_bundle")
_INVENTORY = """\
all:
  hosts:
    localhost:
      ansible_connection: local
      ansible_python_interpreter: "{{ ansible_playbook_python }}"
"""


@dataclass(frozen=True)
class TaskResult:
    name: str
    # ok, changed, failed, ignored (failed with ignore_errors), skipped, unreachable
    status: str
    result: dict[str, Any]

    @property
    def msg(self) -> str:
        return str(self.result.get("msg", ""))


@dataclass(frozen=True)
class Result:
    rc: int
    stdout: str
    stderr: str
    tasks: list[TaskResult] = field(default_factory=list)

    def __getitem__(self, name: str) -> TaskResult:
        """The last result of the task of this name."""
        for task in reversed(self.tasks):
            if task.name == name:
                return task
        raise KeyError(f"no task {name!r} has run; output:\n{self.output}")

    @property
    def last(self) -> TaskResult:
        if not self.tasks:
            raise AssertionError(f"no task has run; output:\n{self.output}")
        return self.tasks[-1]

    @property
    def output(self) -> str:
        return f"{self.stdout}\n{self.stderr}"

    def ok(self) -> Result:
        """This result, after making sure that the playbook went through."""
        if self.rc != 0:
            raise AssertionError(f"ansible-playbook ended with {self.rc}:\n{self.output}")
        return self


def link_collection(directory: Path) -> Path:
    """Make `directory` a collections path whose secops.defender is this checkout."""
    link = directory / "ansible_collections" / "secops" / "defender"
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(ROOT, target_is_directory=True)
    return directory


class PlaybookRunner:
    def __init__(self, directory: Path, collections_path: str | Path) -> None:
        self._directory = directory
        self._collections_path = str(collections_path)
        self._count = 0

    def __call__(
        self,
        tasks: str | list[dict[str, Any]],
        env: Mapping[str, str] | None = None,
        *,
        variables: Mapping[str, Any] | None = None,
        play: Mapping[str, Any] | None = None,
        check: bool = False,
        diff: bool = False,
        verbosity: int = 0,
        timeout: float = 300,
    ) -> Result:
        """Run tasks (a list, or YAML text) on localhost.

        `env` is added to a clean environment, `variables` become extra variables (out of the argument list, out of
        the play's source), `play` are further keywords of the play, such as module_defaults.
        """
        work = self._new_directory()
        tasks = yaml.safe_load(tasks) if isinstance(tasks, str) else tasks
        content = [{"hosts": "localhost", "gather_facts": False, **(play or {}), "tasks": tasks}]
        playbook = work / "playbook.yml"
        playbook.write_text(json.dumps(content, indent=2), encoding="utf-8")
        return self.run_file(
            playbook, env, variables=variables, check=check, diff=diff, verbosity=verbosity, timeout=timeout, work=work
        )

    def run_file(
        self,
        playbook: str | Path,
        env: Mapping[str, str] | None = None,
        *,
        variables: Mapping[str, Any] | None = None,
        check: bool = False,
        diff: bool = False,
        verbosity: int = 0,
        timeout: float = 300,
        work: Path | None = None,
        more: Sequence[str] = (),
    ) -> Result:
        """Run a playbook: a file's path, or the full name of one of a collection. `more`: arguments for it."""
        work = work or self._new_directory()
        (work / "inventory.yml").write_text(_INVENTORY, encoding="utf-8")
        command = [_ansible_playbook(), "-i", str(work / "inventory.yml"), str(playbook)]
        if variables:
            (work / "variables.json").write_text(json.dumps(dict(variables)), encoding="utf-8")
            command += ["-e", f"@{work / 'variables.json'}"]
        command += ["--check"] * check + ["--diff"] * diff + ["-" + "v" * verbosity] * bool(verbosity)
        command += more
        results = work / "results.jsonl"
        done = subprocess.run(
            command,
            cwd=work,
            env={**self._environment(work, results), **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=timeout,
            check=False,
        )
        lines = results.read_text(encoding="utf-8").splitlines() if results.exists() else []
        return Result(done.returncode, done.stdout, done.stderr, [TaskResult(**json.loads(line)) for line in lines])

    def _new_directory(self) -> Path:
        self._count += 1
        work = self._directory / f"run{self._count}"
        work.mkdir(parents=True)
        (work / "ansible.cfg").touch()
        return work

    def _environment(self, work: Path, results: Path) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(_FOREIGN) and name.lower() not in _FOREIGN_NAMES
        }
        return {
            **kept,
            "HOME": str(work),
            # Of all runs of a test together, and of no other.
            "WDATP_RUNTIME_DIR": str(self._directory / "runtime"),
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_COLLECTIONS_PATH": self._collections_path,
            "ANSIBLE_CONFIG": str(work / "ansible.cfg"),
            "ANSIBLE_HOME": str(work / ".ansible"),
            "ANSIBLE_LOCAL_TEMP": str(work / ".ansible" / "tmp"),
            "ANSIBLE_REMOTE_TEMP": str(work / ".ansible" / "remote_tmp"),
            "ANSIBLE_CALLBACK_PLUGINS": str(_PLUGINS / "callback"),
            "ANSIBLE_CALLBACKS_ENABLED": "task_results",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "TASK_RESULTS_FILE": str(results),
            # A symlinked checkout must not fill with compiled files of other versions.
            "PYTHONDONTWRITEBYTECODE": "1",
        }


def _ansible_playbook() -> str:
    beside = Path(sys.executable).parent / "ansible-playbook"
    found = str(beside) if beside.exists() else shutil.which("ansible-playbook")
    if not found:
        raise RuntimeError("ansible-playbook is missing: install ansible-core beside pytest")
    return found
