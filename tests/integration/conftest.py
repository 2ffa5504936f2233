# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of all integration tests: a playbook runner, mock tenants.

ANSIBLE_COLLECTIONS_PATH names a tree in which the collection is installed; without it the checkout itself is linked.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

sys.path[:0] = [str(path) for path in (Path(__file__).parent, Path(__file__).parents[1]) if str(path) not in sys.path]

from harness import PlaybookRunner, link_collection  # noqa: E402

if TYPE_CHECKING:
    from mock_api import MockTenant


@pytest.fixture(scope="session")
def collections_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    installed = os.environ.get("ANSIBLE_COLLECTIONS_PATH")
    return installed or str(link_collection(tmp_path_factory.mktemp("collections")))


@pytest.fixture
def run_playbook(tmp_path: Path, collections_path: str) -> PlaybookRunner:
    """run_playbook(tasks, env, variables=…, play=…, check=…, diff=…, verbosity=…) -> harness.Result"""
    return PlaybookRunner(tmp_path / "ansible", collections_path)


@pytest.fixture
def make_mock() -> Iterator[Callable[..., MockTenant]]:
    """make_mock(alerts=1000, …) -> a running MockTenant; the keywords are those of TenantConfig."""
    from mock_api import MockTenant, TenantConfig

    with ExitStack() as stack:

        def make(**knobs: Any) -> MockTenant:
            return stack.enter_context(MockTenant(TenantConfig(**knobs)))

        yield make


@pytest.fixture
def mock(make_mock: Callable[..., MockTenant]) -> MockTenant:
    """A mock tenant with a thousand alerts."""
    return make_mock()


@pytest.fixture
def config_dir(tmp_path: Path) -> Path:
    """Where a test's credentials are stored; it does not exist yet."""
    return tmp_path / "etc"


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """Where a test's cursors and events are kept; it does not exist yet."""
    return tmp_path / "lib"
