# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What users get: the files in the tarball, and what its metadata promise."""

from __future__ import annotations

import re
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
# Everything else at the top is for developers. A new folder is left out until it is named here and not in build_ignore.
TOP = {
    "CHANGELOG.md",
    "FILES.json",
    "LICENSE",
    "LICENSES",
    "MANIFEST.json",
    "README.md",
    "SECURITY.md",
    "changelogs",
    "docs",
    "extensions",
    "meta",
    "playbooks",
    "plugins",
    "roles",
    "tests",
}

needs_tools = pytest.mark.skipif(sys.version_info < (3, 11), reason="the tools need Python 3.11")


@pytest.fixture(scope="module")
def shipped() -> set[str]:
    """The paths of the files in the tarball."""
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        from collection import build_collection
    finally:
        sys.path.pop(0)
    with tarfile.open(build_collection(Path(sys.prefix))) as tarball:
        return {member.name for member in tarball.getmembers() if not member.isdir()}


def _metadata(name: str) -> dict[str, object]:
    content = yaml.safe_load((ROOT / name).read_text("utf-8"))
    assert isinstance(content, dict)
    return content


@needs_tools
def test_tarball_has_only_what_users_need(shipped: set[str]) -> None:
    assert {path.split("/")[0] for path in shipped} <= TOP


@needs_tools
def test_tarball_has_of_the_tests_only_the_mock_tenant_and_the_python_floor(shipped: set[str]) -> None:
    tests = {path for path in shipped if path.startswith("tests/")}
    assert {path for path in tests if not path.startswith("tests/mock_api/")} == {"tests/config.yml"}


@needs_tools
def test_tarball_has_of_the_changelog_only_the_releases(shipped: set[str]) -> None:
    assert {path for path in shipped if path.startswith("changelogs/")} == {"changelogs/changelog.yaml"}


@needs_tools
def test_tarball_has_nothing_hidden_built_or_cached(shipped: set[str]) -> None:
    unwanted = re.compile(r"(^|/)(\.|__pycache__)|\.(pyc|gz)$")
    assert [path for path in shipped if unwanted.search(path)] == []


@needs_tools
@pytest.mark.parametrize(
    "folder", ["plugins", "roles", "playbooks", "extensions", "tests/mock_api", "LICENSES", "meta"]
)
def test_tarball_has_all_of_what_it_ships(shipped: set[str], folder: str) -> None:
    here = {
        str(path.relative_to(ROOT)) for path in (ROOT / folder).rglob("*") if path.is_file() and path.suffix != ".pyc"
    }
    assert here <= shipped


def test_one_version() -> None:
    text = (ROOT / "plugins/module_utils/_wdatp/version.py").read_text("utf-8")
    assert re.findall(r'^VERSION = "(.*)"$', text, re.MULTILINE) == [_metadata("galaxy.yml")["version"]]


def test_execution_environment_names_files_that_exist() -> None:
    dependencies = _metadata("meta/execution-environment.yml")["dependencies"]
    assert isinstance(dependencies, dict)
    assert all((ROOT / path).is_file() for path in dependencies.values())


def test_python_requirements_have_no_upper_bounds() -> None:
    """Certification refuses them: an execution environment is shared with other collections."""
    lines = (ROOT / "meta/ee-requirements.txt").read_text("utf-8").splitlines()
    assert lines
    assert all(re.fullmatch(r"[a-z][a-z0-9-]*( >= [0-9.]+)?", line) for line in lines)
