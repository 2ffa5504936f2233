# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write docs/faults.md from the tests: `python3 tools/fault_table.py`; with --check, only say whether it has drifted.

A test named test_fault_<fault> or test_peer_<number>_<fault> is one row: its name is the fault, the first paragraph of
its docstring what the engine does about it, and a last line `Seen: owner/repository#number` where it was met.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "docs" / "faults.md"
TESTS = "https://github.com/secops-defender/secops.defender/blob/main/"
# What kind of faults a file holds; files that are not named here come last.
TITLES = {
    "test_fault_walk.py": "Pages, links, order",
    "test_fault_api.py": "Answers, tokens, budgets",
    "test_fault_late.py": "Late and changed alerts",
    "test_fault_store.py": "The host: disk, files, clock, processes",
}
_PEER = re.compile(r"test_peer_(\d\d)_(\w+)")
_FAULT = re.compile(r"test_fault_(\w+)")
_ISSUE = re.compile(r"([\w.-]+/[\w.-]+)#(\d+)")
_HEAD = """# Faults, and what is done about them

Each row is a test that makes the fault happen, against the mock tenant, and then compares the files with the tenant's
truth, byte for byte. `python3 tools/fault_table.py` writes this page from the tests; don't edit it.

"""
_PEERS = """## What other collectors lost

Other tools that bring Microsoft Defender alerts into a SIEM have public issue trackers. These are the ways in which
their users lost alerts, got them twice, or got none; each is reproduced here, with links to such reports.

"""


class TableError(Exception):
    """A test that gives no row: what is missing, and where."""


@dataclass(frozen=True)
class Row:
    name: str
    # Only of what peers met.
    number: int | None
    fault: str
    answer: str
    seen: tuple[str, ...]
    path: Path


def rows(root: Path = ROOT) -> list[Row]:
    """Every test that is named after a fault, in the order of files and lines. TableError for one without its words."""
    found = [
        _row(node, path.relative_to(root))
        for path in sorted((root / "tests").rglob("test_*.py"))
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith(("test_fault_", "test_peer_"))
    ]
    names = [row.name for row in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TableError(f"there is more than one {', '.join(twice)}")
    return found


def _row(node: ast.FunctionDef, path: Path) -> Row:
    peer, fault = _PEER.fullmatch(node.name), _FAULT.fullmatch(node.name)
    match = peer or fault
    if match is None:
        raise TableError(f"{path}: {node.name} is neither test_peer_NN_<fault> nor test_fault_<fault>")
    text = ast.get_docstring(node) or ""
    answer = " ".join(text.split("\n\n")[0].split())
    last = text.strip().splitlines()[-1] if text else ""
    seen = tuple(last.removeprefix("Seen:").split()) if last.startswith("Seen:") else ()
    if not answer.endswith((".", "!", "?")) or answer.startswith("Seen:"):
        raise TableError(f"{path}: {node.name} needs a docstring that says in a sentence what the engine does")
    if peer and not seen:
        raise TableError(f"{path}: {node.name} needs a last line `Seen: owner/repository#number`")
    words = match[match.lastindex or 1].replace("_", " ")
    return Row(node.name, int(peer[1]) if peer else None, words[0].upper() + words[1:], answer, seen, path)


def table(found: list[Row]) -> str:
    """The whole page."""
    parts = [_HEAD]
    faults = [row for row in found if row.number is None]
    for name in [*TITLES, *sorted({row.path.name for row in faults} - set(TITLES))]:
        chosen = [row for row in faults if row.path.name == name]
        if chosen:
            parts += [f"## {TITLES.get(name, 'More')}\n\n", *_lines(chosen, "fault"), "\n"]
    peers = sorted((row for row in found if row.number is not None), key=lambda row: row.number or 0)
    if peers:
        parts += [_PEERS, *_lines(peers, "what their users met")]
    return "".join(parts).rstrip("\n") + "\n"


def _lines(chosen: list[Row], title: str) -> Iterator[str]:
    yield f"| {title} | what we do | test |\n|---|---|---|\n"
    for row in chosen:
        number = "" if row.number is None else f"{row.number}. "
        seen = f" (seen: {', '.join(map(_link, row.seen))})" if row.seen else ""
        test = f"[`{row.name}`]({TESTS}{row.path.as_posix()})"
        yield f"| {number}{row.fault}{seen} | {row.answer.replace('|', chr(92) + '|')} | {test} |\n"


def _link(reference: str) -> str:
    """A reference as a link; an address is one already."""
    reference = reference.rstrip(",;")
    match = _ISSUE.fullmatch(reference)
    return f"[{reference}](https://github.com/{match[1]}/issues/{match[2]})" if match else f"<{reference}>"


def main() -> int:
    parser = argparse.ArgumentParser(description="Write docs/faults.md from the tests.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where the page is not up to date")
    arguments = parser.parse_args()
    try:
        text = table(rows())
    except TableError as error:
        print(error, file=sys.stderr)
        return 1
    if not arguments.check:
        TABLE.write_text(text, "utf-8")
        return 0
    if TABLE.is_file() and TABLE.read_text("utf-8") == text:
        return 0
    print("docs/faults.md is not what the tests say: run python3 tools/fault_table.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
