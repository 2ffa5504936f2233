# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the tests on booted hosts. The gate `collectors` makes the hosts' root file systems.

WDATP_TEST_HOSTS names them: release=tree=wheels, several separated by colons. ANSIBLE_COLLECTIONS_PATH names a tree in
which the collection is installed; without it the checkout itself is linked.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

_TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(path) for path in (_TESTS / "collectors", _TESTS / "integration", _TESTS)]

from collector import Collector  # noqa: E402
from harness import link_collection  # noqa: E402

_HOSTS = [entry.split("=") for entry in os.environ.get("WDATP_TEST_HOSTS", "").split(":") if entry]


@pytest.fixture(scope="session", params=_HOSTS or [None], ids=lambda entry: entry[0] if entry else "none")
def release(request: pytest.FixtureRequest) -> tuple[str, Path, Path]:
    """(name, root file system, wheels) of a Debian release."""
    if request.param is None:
        pytest.skip("run by: python3 tools/check.py collectors")
    name, tree, wheels = request.param
    return name, Path(tree), Path(wheels)


@pytest.fixture(scope="session")
def collections_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    installed = os.environ.get("ANSIBLE_COLLECTIONS_PATH")
    return Path(installed) if installed else link_collection(tmp_path_factory.mktemp("collections"))


@pytest.fixture(scope="module")
def boot(release: tuple[str, Path, Path], collections_path: Path) -> Iterator[Callable[..., Collector]]:
    """boot("one", offline=…, alerts=…) -> a Collector: a booted host, and a mock tenant of its own."""
    with ExitStack() as stack:

        def start(name: str, offline: bool = False, **knobs: Any) -> Collector:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wdatp-")))
            collector = Collector(release[1], directory, name, collections_path, offline, **knobs)
            return stack.enter_context(collector)

        yield start
