# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook first_alerts, which tools/demo.py shows: its figures, its tables, what it says when something fails."""

from __future__ import annotations

import base64
import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest
from harness import ROOT, PlaybookRunner, Result
from mock_api import MockTenant, TenantConfig

SECRET = "Abc8Q~demo/secret+value=& 1"
ALERTS = 300
# How far Ansible indents a text.
INDENT = 8


@dataclass
class Demo:
    """A tenant, a directory, and what the playbook said about them."""

    tenant: MockTenant
    directory: Path
    collections_path: str
    first: Result
    again: Result

    @property
    def file(self) -> Path:
        return self.directory / "demo" / "alerts.jsonl"


def _show(
    tenant: MockTenant,
    directory: Path,
    collections_path: str,
    env: dict[str, str] | None = None,
    verbosity: int = 0,
    **variables: Any,
) -> Result:
    settings = {
        "ANSIBLE_CONFIG": str(ROOT / "tools" / "demo" / "ansible.cfg"),
        "WDATP_TENANT_ID": tenant.tenant_id,
        "WDATP_CLIENT_ID": tenant.client_id,
        "WDATP_CLIENT_SECRET": tenant.client_secret,
        "WDATP_API_URL": tenant.url,
        "WDATP_AUTHORITY_URL": tenant.url,
        "WDATP_CA_PATH": tenant.ca_path,
    }
    run = PlaybookRunner(directory / f"ansible{len(list(directory.iterdir()))}", collections_path)
    return run.run_file(
        "secops.defender.first_alerts",
        settings | (env or {}),
        variables={"defender_dir": str(directory / "demo"), **variables},
        verbosity=verbosity,
    )


@pytest.fixture(scope="module")
def tenant() -> Iterator[MockTenant]:
    config = TenantConfig(alerts=ALERTS, span="23h", recent_share=0.1, client_secret=SECRET)
    with MockTenant(config) as running:
        yield running


@pytest.fixture(scope="module")
def demo(tenant: MockTenant, tmp_path_factory: pytest.TempPathFactory, collections_path: str) -> Demo:
    """The playbook as tools/demo.py runs it, and then once more, as for a real tenant."""
    place = (tenant, tmp_path_factory.mktemp("demo"), collections_path)
    first = _show(*place, verbosity=3, defender_columns=100, mock_control_url=tenant.control_url).ok()
    return Demo(*place, first, _show(*place).ok())


def _figures(result: Result, task: str) -> tuple[int, ...]:
    return tuple(result[task].result[name] for name in ("new", "updated", "written", "pending"))


def _table(result: Result) -> list[str]:
    return str(result["Show the events of the last 15 minutes"].msg).splitlines()


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def _is_harmless(text: str) -> bool:
    """No control characters, nothing invisible, nothing that changes the direction of writing."""
    return all(letter == " " or unicodedata.category(letter)[0] in "LNPS" for letter in text)


def test_pulls_get_each_alert_once(demo: Demo) -> None:
    result = demo.first

    assert _figures(result, "Pull to a file") == (ALERTS, 0, ALERTS, 0)
    assert result["Pull again"].status == "ok"
    assert _figures(result, "Pull again") == (0, 0, 0, 0)
    assert _figures(result, "Pull the new alerts") == (5, 0, 5, 0)
    arrived = result["New alerts arrive"].result["json"]["ids"]
    written = [json.loads(line)["id"] for line in demo.file.read_text("utf-8").splitlines()]
    assert sorted(written[ALERTS:]) == sorted(arrived)
    assert sorted(written) == sorted(alert_id for alert_id, _time, _raw in demo.tenant.alerts())


def test_it_can_be_run_again(demo: Demo) -> None:
    assert [task.name for task in demo.again.tasks if task.status == "changed"] == []
    assert len(demo.file.read_bytes().splitlines()) == ALERTS + 5


def test_a_real_tenant_is_told_no_alerts(demo: Demo) -> None:
    assert demo.again["New alerts arrive"].status == "skipped"
    assert "New alerts arrive" not in demo.again.output


@pytest.mark.parametrize(("run", "columns", "lines"), [("again", 80, ALERTS + 5), ("first", 100, ALERTS)])
def test_table_is_well_formed(demo: Demo, run: str, columns: int, lines: int) -> None:
    result: Result = getattr(demo, run)
    header, *rows, total, _window = _table(result)
    times = [json.loads(line)["lastUpdateDateTime"] for line in demo.file.read_text("utf-8").splitlines()[:lines]]
    assert len(rows) > 10
    assert total.startswith(f"{len(rows)} events: ")
    assert sum(map(int, re.findall(r"(\d+) [a-z]+", total.partition(": ")[2]))) == len(rows)
    assert [row[:8] for row in rows] == [time[11:19] for time in sorted(times, reverse=True)[: len(rows)]]
    assert all(_width(row) <= columns - INDENT and _is_harmless(row) for row in [header, *rows])
    # Each column begins below its heading.
    severities = {row[header.index("SEVERITY") :].split()[0] for row in rows}
    assert severities <= {"high", "medium", "low", "info", "unknown"}
    assert {row[header.index("STATUS") :].split()[0] for row in rows} <= {"new", "inProgress", "resolved"}


def test_table_is_printed_as_it_is(demo: Demo) -> None:
    """Not as a quotation of itself, in which lines would be moved and letters escaped."""
    assert all(" " * INDENT + row in demo.again.stdout for row in _table(demo.again))


def test_hostile_text_is_shown_as_text(demo: Demo) -> None:
    rows = _table(demo.first)

    assert any("{{ 7*7 }} ${jn" in row for row in rows)
    assert any("<script>" in row for row in rows)
    titles = [json.loads(line)["title"] for line in demo.file.read_text("utf-8").splitlines()]
    assert not all(_is_harmless(title) for title in titles)
    assert all(_is_harmless(row) for row in rows)


def test_no_secret_is_in_the_output(demo: Demo) -> None:
    encoded = base64.b64encode(SECRET.encode()).decode()
    assert not [form for form in (SECRET, quote_plus(SECRET), encoded) if form in demo.first.output]
    assert not re.search(r"eyJ[\w-]{20,}\.eyJ[\w-]{20,}", demo.first.output), "a token"


@pytest.mark.parametrize(
    ("api", "host"),
    [
        ("mde_alerts", "api.security.microsoft.com"),
        ("graph_incidents", "graph.microsoft.com"),
        ("alert_exporter", "wdatp-alertexporter-us.windows.com"),
    ],
)
def test_the_other_apis(tenant: MockTenant, tmp_path: Path, collections_path: str, api: str, host: str) -> None:
    result = _show(tenant, tmp_path, collections_path, {"WDATP_API": api, "WDATP_HOST": host}).ok()

    assert result["Pull to a file"].result["streams"][0]["api"] == api
    assert result["Pull again"].status == "ok"
    _header, *rows, _total, _window = _table(result)
    assert rows
    assert all(re.match(r"\d\d:\d\d:\d\d (high|medium|low|info|unknown) ", row) for row in rows)


def test_a_wrong_secret_ends_it_with_a_remedy(tenant: MockTenant, tmp_path: Path, collections_path: str) -> None:
    result = _show(tenant, tmp_path, collections_path, {"WDATP_CLIENT_SECRET": "Xyz8Q~wrong/secret+value=& 2"})

    assert result.rc != 0
    assert result.last.name == "Stop here if the alerts can't be reached"
    assert "AADSTS7000215" in result.last.msg
    assert "copy its Value" in result.last.msg
    assert "FAILED token" in result["Show the stages of the test"].msg
    assert "Xyz8Q~wrong" not in result.output
    assert not (tmp_path / "demo" / "alerts.jsonl").exists()
