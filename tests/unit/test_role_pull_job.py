# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role pull_job says the same thing everywhere: in its defaults, its argument specs, its tasks and the modules."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml")

ROLE = Path(__file__).resolve().parents[2] / "roles" / "pull_job"
CONFIG, STATE = "config_dir", "state_dir"
options = importlib.import_module("ansible_collections.secops.defender.plugins.module_utils._wdatp.options")
CREDENTIAL, JOB = options.CREDENTIAL, options.JOB
# What the role says itself.
OF_CREDENTIALS = {CONFIG}
OF_JOBS = {"name", "state", "collectors", "collector", CONFIG, STATE}


def _load(name: str) -> Any:
    return yaml.safe_load((ROLE / name).read_text("utf-8"))


def _spec() -> dict[str, Any]:
    found: dict[str, Any] = _load("meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    return found


def test_defaults_are_those_of_the_argument_specs() -> None:
    assert {name: option["default"] for name, option in _spec().items()} == _load("defaults/main.yml")


@pytest.mark.parametrize(
    ("variable", "table", "own"),
    [("pull_job_credentials", CREDENTIAL, OF_CREDENTIALS), ("pull_job_definition", JOB, OF_JOBS)],
)
def test_nested_options_are_those_of_the_modules(variable: str, table: Sequence[Any], own: set[str]) -> None:
    nested = _spec()[variable]["options"]
    assert set(nested) == {option.name for option in table} - own
    for option in table:
        if option.name not in own:
            told = nested[option.name]
            assert told["type"] == option.type
            assert told.get("elements", "") == option.elements
            assert tuple(told.get("choices", ())) == option.choices
            assert told.get("no_log", False) == option.secret
            assert told.get("required", False) == option.required


@pytest.mark.parametrize(
    ("file", "module", "table"),
    [
        ("tasks/credential.yml", "secops.defender.wdatp_credential", CREDENTIAL),
        ("tasks/job.yml", "secops.defender.wdatp_pull_job", JOB),
    ],
)
def test_every_option_is_passed_on(file: str, module: str, table: Sequence[Any]) -> None:
    passed = next(task[module] for task in _load(file) if module in task)
    assert set(passed) >= {option.name for option in table} - {"state"}


def test_every_variable_is_used() -> None:
    texts = "".join(
        path.read_text("utf-8") for part in ("tasks", "templates", "vars") for path in (ROLE / part).iterdir()
    )
    unused = [name for name in [*_spec(), *_load("vars/main.yml")] if not re.search(rf"\b{name}\b(?!:)", texts)]
    assert unused == []


def test_the_probe_answers_what_it_is_asked(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    questions = {"owned": [str(tmp_path)], "paths": [str(tmp_path), str(tmp_path / "none")]}
    said = subprocess.run(
        [sys.executable, "-I", "-", json.dumps(questions)],
        input=(ROLE / "files/probe.py").read_text("utf-8"),
        capture_output=True,
        text=True,
        check=True,
    )
    answer = json.loads(said.stdout)
    assert answer["exists"] == [str(tmp_path)]
    assert set(answer["owners"]) == {str(tmp_path), str(tmp_path / "file")}
    assert answer["python"] == list(sys.version_info[:2])
    assert set(answer["libraries"]) == {"requests", "msal"}
