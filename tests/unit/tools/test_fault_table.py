# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/faults.md is what the tests say, and no fault that peers met is without a test."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

if sys.version_info < (3, 11):
    pytest.skip("the tools need Python 3.11", allow_module_level=True)

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tools"))

import fault_table

NAMED = '''def {name}() -> None:
    """It is asked for again
    until it comes.

    More that is in no table.
    Seen: elastic/beats#24800 https://example.com/a
    """
'''


def _tests(root: Path, *names: str) -> Path:
    (root / "tests").mkdir()
    (root / "tests" / "test_some.py").write_text("\n\n".join(NAMED.format(name=name) for name in names), "utf-8")
    return root


def test_the_page_is_what_the_tests_say() -> None:
    assert fault_table.TABLE.read_text("utf-8") == fault_table.table(fault_table.rows()), (
        "run python3 tools/fault_table.py"
    )


def test_every_fault_that_peers_met_has_a_test() -> None:
    assert {row.number for row in fault_table.rows() if row.number is not None} == set(range(1, 29))


def test_a_row(tmp_path: Path) -> None:
    (row,) = fault_table.rows(_tests(tmp_path, "test_peer_07_page_is_lost"))
    assert (row.number, row.fault, row.answer) == (7, "Page is lost", "It is asked for again until it comes.")
    page = fault_table.table([row])
    assert "| 7. Page is lost (seen: [elastic/beats#24800](https://github.com/elastic/beats/issues/24800)" in page
    assert "<https://example.com/a>" in page
    assert f"[`test_peer_07_page_is_lost`]({fault_table.TESTS}tests/test_some.py)" in page


def test_a_name_that_comes_twice_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(fault_table.TableError, match="more than one test_fault_x"):
        fault_table.rows(_tests(tmp_path, "test_fault_x", "test_fault_x"))


@pytest.mark.parametrize("text", ["pass", '"""no sentence"""', '"""Seen: a/b#1"""', '"""A sentence."""'])
def test_a_test_without_its_words_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_some.py").write_text(f"def test_peer_01_x():\n    {text}\n", "utf-8")
    with pytest.raises(fault_table.TableError, match="test_peer_01_x needs"):
        fault_table.rows(tmp_path)


def test_drift_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(fault_table, "TABLE", tmp_path / "faults.md")
    monkeypatch.setattr(sys, "argv", ["fault_table.py", "--check"])
    assert fault_table.main() == 1
    assert "run python3 tools/fault_table.py" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["fault_table.py"])
    assert fault_table.main() == 0
    monkeypatch.setattr(sys, "argv", ["fault_table.py", "--check"])
    assert fault_table.main() == 0
