# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/troubleshooting.md explains every error code that the engine can give, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENGINE = ROOT / "plugins" / "module_utils" / "_wdatp"
KINDS = "api auth credential cyberark dependency destination job program network option store"
_CODE = re.compile(rf"(?:{KINDS.replace(' ', '|')})\.[a-z_]+")


def _tree(name: str) -> ast.AST:
    return ast.parse((ENGINE / name).read_text("utf-8"))


def _texts(node: ast.AST) -> Iterator[str]:
    return (item.value for item in ast.walk(node) if isinstance(item, ast.Constant) and isinstance(item.value, str))


def _first_arguments(tree: ast.AST, function: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == function:
            yield from _texts(node.args[0])


def _kinds_of_answers() -> Iterator[str]:
    """The first word of what Client._meaning returns."""
    (function,) = (
        node for node in ast.walk(_tree("client.py")) if isinstance(node, ast.FunctionDef) and node.name == "_meaning"
    )
    for node in ast.walk(function):
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple):
            yield from _texts(node.value.elts[0])


def _codes() -> set[str]:
    whole = {
        text for path in ENGINE.rglob("*.py") for text in _texts(ast.parse(path.read_text("utf-8"))) if _is_code(text)
    }
    parts = {
        *(f"network.{kind}" for kind in _first_arguments(_tree("faults.py"), "_error")),
        *(f"auth.{kind}" for kind in _first_arguments(_tree("aadsts.py"), "Meaning")),
        *(f"cyberark.{kind}" for kind in _first_arguments(_tree("ccp_errors.py"), "Meaning")),
        *(f"api.{kind}" for kind in _kinds_of_answers()),
    }
    # One that is thought of by the modules, for what the engine did not raise on purpose.
    return whole | parts | {"bug"}


def _is_code(text: str) -> bool:
    return _CODE.fullmatch(text) is not None


def test_every_error_code_is_explained() -> None:
    text = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
    explained = re.findall(r"^\| `([a-z]+\.[a-z_]+|bug)` \|", text, re.MULTILINE)
    assert sorted(explained) == sorted(set(explained)), "a code is explained twice"
    assert set(explained) == _codes()


def test_codes_made_of_parts_are_all_known() -> None:
    """Another place that builds codes from parts has to be added to _codes."""
    found = {
        path.name for path in ENGINE.rglob("*.py") if re.search(r'f"[a-z]+\.\{', path.read_text("utf-8")) is not None
    }
    # connectivity.py compares with codes of faults.py.
    assert found == {"aadsts.py", "ccp_errors.py", "client.py", "connectivity.py", "faults.py"}
