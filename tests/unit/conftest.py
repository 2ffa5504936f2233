# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the collection importable by its full name, as Ansible's own loader does, and the mock as `mock_api`."""

from __future__ import annotations

import atexit
import importlib.util
import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).resolve().parents[2]


def _importable() -> bool:
    try:
        return importlib.util.find_spec("ansible_collections.secops.defender.plugins") is not None
    except ModuleNotFoundError:
        return False


def _link_collection() -> None:
    directory = tempfile.mkdtemp(prefix="wdatp_unit_")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    parent = Path(directory, "ansible_collections", "secops")
    parent.mkdir(parents=True)
    (parent / "defender").symlink_to(_ROOT, target_is_directory=True)
    sys.path.insert(0, directory)
    # Namespace packages that were imported before don't know of the new directory.
    for name in [name for name in sys.modules if name.split(".")[0] == "ansible_collections"]:
        del sys.modules[name]
    importlib.invalidate_caches()


if str(_ROOT / "tests") not in sys.path:
    sys.path.insert(0, str(_ROOT / "tests"))
if not _importable():
    _link_collection()


@pytest.fixture(autouse=True)
def runtime_dir(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test's own: what it has asked or been refused is not for the others, nor for this host."""
    path = tmp_path_factory.mktemp("runtime")
    path.chmod(0o700)
    monkeypatch.setenv("WDATP_RUNTIME_DIR", str(path))
    return path


@pytest.fixture
def run_module(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """run_module(main, options, check=…, diff=…) -> what the module's main() printed as its result."""
    basic = pytest.importorskip("ansible.module_utils.basic")

    def run(
        main: Callable[[], None], options: dict[str, Any], check: bool = False, diff: bool = False
    ) -> dict[str, Any]:
        internal = {"_ansible_check_mode": check, "_ansible_diff": diff, "_ansible_remote_tmp": tempfile.gettempdir()}
        arguments = json.dumps({"ANSIBLE_MODULE_ARGS": {**options, **internal}}).encode()
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", arguments)
        # Since ansible-core 2.19; without it the arguments can't be read.
        monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        capsys.readouterr()
        with pytest.raises(SystemExit):
            main()
        return json.loads(capsys.readouterr().out)

    return run


# --- the seed of the stateful test -----------------------------------------------------------------------------------

_SEED = "WDATP_TEST_SEED"


def pytest_configure() -> None:
    """In the environment, so that all of pytest's processes have the same one."""
    os.environ.setdefault(_SEED, str(random.SystemRandom().randrange(1_000_000_000)))


def pytest_report_header() -> str:
    return f"stateful test: {_SEED}={os.environ[_SEED]}"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """How many steps were made; the seed again, as a quiet run has no header."""
    reports = [report for name in ("passed", "failed") for report in terminalreporter.getreports(name)]
    steps = [value for report in reports for name, value in report.user_properties if name == "stateful_steps"]
    if steps:
        terminalreporter.write_line(f"stateful test: {sum(steps)} steps, {_SEED}={os.environ[_SEED]}")


@pytest.fixture
def stateful_seed() -> int:
    return int(os.environ[_SEED])
