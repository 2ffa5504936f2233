# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The repository's own rules, where a test can hold them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENGINE = ROOT / "plugins" / "module_utils" / "_wdatp"
REQUIREMENTS = sorted((ROOT / "tools" / "requirements").glob("*.txt"))


def _imports(path: Path) -> Iterator[tuple[int, str]]:
    """The level and the top package of each import, also of those in functions."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield node.level, (node.module or "").split(".")[0]
        elif isinstance(node, ast.Import):
            yield from ((0, alias.name.split(".")[0]) for alias in node.names)


@pytest.mark.parametrize("path", sorted(ENGINE.rglob("*.py")), ids=lambda path: str(path.relative_to(ENGINE)))
def test_engine_loads_anywhere(path: Path) -> None:
    """It runs in modules, lookups, event sources and on a collector without Ansible, each under another name."""
    names = {name for level, name in _imports(path) if level == 0}
    assert not {name for name in names if name.startswith(("ansible", "_wdatp", "plugins"))}
    depth = len(path.relative_to(ENGINE).parts)
    assert all(level <= depth for level, name in _imports(path)), "an import leads out of the engine"


def test_no_sanity_test_is_ignored() -> None:
    assert list(ROOT.glob("tests/sanity/ignore*")) == []


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.stem)
def test_tools_are_pinned(path: Path) -> None:
    lines = (line.partition("#")[0].strip() for line in path.read_text("utf-8").splitlines())
    assert [line for line in lines if line and not re.match(r"-r |[\w.\[\]-]+==[\w.]+( *;.*)?$", line)] == []
