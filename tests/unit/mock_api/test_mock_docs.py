# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/mock_tenant.md says what the code does: each of its tables is compared."""

from __future__ import annotations

import inspect
import json
import re
from dataclasses import MISSING, fields
from pathlib import Path

import requests
from mock_api import MockProxy, MockTenant, TenantConfig
from mock_api.ccp import CERTIFICATES, CcpConfig
from mock_api.cli import _parser
from mock_api.config import CHOICES, DATA_KNOBS
from mock_api.faults import DO, LEGS, MATCH
from mock_api.jsontext import LAYOUTS
from mock_api.proxy import MODES

TEXT = (Path(__file__).resolve().parents[3] / "docs" / "mock_tenant.md").read_text("utf-8")


def table(heading: str, first: str) -> dict[str, list[str]]:
    """The rows of the table under this heading whose first column has this name: first cell -> the others."""
    section = TEXT.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = section.split(f"\n| {first} |", 1)[1].splitlines()[2:]
    found = {}
    for line in lines:
        if not line.startswith("|"):
            break
        cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        found[cells[0]] = cells[1:]
    return found


def words(cells: dict[str, list[str]]) -> list[str]:
    return [word for cell in cells for word in re.findall(r"`([^`]+)`", cell)]


def test_options_of_the_command_line() -> None:
    known = {option for action in _parser()._actions for option in action.option_strings if option.startswith("--")}
    described = {word.split()[0]: word for word in words(table("Start it", "option"))}
    assert set(described) == known - {"--help"}
    for action in _parser()._actions:
        if action.choices:
            assert described[action.option_strings[0]].endswith("|".join(action.choices))


def test_knobs_and_their_defaults() -> None:
    rows = table("Knobs", "knob")
    described = {name.strip("`"): cells[0] for name, cells in rows.items() if name.startswith("`")}
    known = {}
    for item in fields(TenantConfig):
        value = item.default
        if item.default_factory is not MISSING:
            value = item.default_factory()
        known[item.name] = f"`{json.dumps(value)}`"
    assert described == known
    data = list(rows)[list(rows).index("**data**") + 1 : list(rows).index("**who**")]
    assert {name.strip("`") for name in data} == DATA_KNOBS | {"tenants"}
    for name, choices in {**CHOICES, "layout": tuple(LAYOUTS)}.items():
        text = " ".join(rows[f"`{name}`"])
        assert [choice for choice in choices if choice not in text] == [], name


def test_knobs_of_the_ccp() -> None:
    rows = table("The mock CCP", "knob in `ccp`")
    known = {}
    for item in fields(CcpConfig):
        value = item.default if item.default_factory is MISSING else item.default_factory()
        known[f"`{item.name}`"] = f"`{json.dumps(value)}`"
    assert {name: cells[0] for name, cells in rows.items()} == known
    assert [kind for kind in CERTIFICATES if kind not in " ".join(rows["`client_certificate`"])] == []


def test_words_of_the_fault_script() -> None:
    assert set(words(table("The fault script", "match"))) == MATCH
    assert words(table("The fault script", "do")) == list(DO)
    legs = " ".join(table("The fault script", "match")["`leg`"])
    assert [leg for leg in (*LEGS, "api") if f"`{leg}`" not in legs] == []


def test_the_control_endpoint(shared: MockTenant) -> None:
    answer = requests.get(f"{shared.control_url}/?", verify=shared.ca_path, timeout=10).json()
    known = answer["error"].partition("there are: ")[2].split(", ")
    assert words(table("The control endpoint", "request")) == known


def test_names_in_python(shared: MockTenant) -> None:
    for word in words(table("In a Python test", "name")):
        name, _bracket, arguments = word.partition("(")
        value = getattr(shared, name)
        if arguments.strip(")") and not arguments.startswith("**"):
            given = [argument.strip() for argument in arguments.strip(")").split(",")]
            assert [text.lstrip("*") for text in given] == list(inspect.signature(value).parameters), word


def test_modes_of_the_proxy() -> None:
    assert tuple(words(table("The proxy", "mode"))) == MODES
    names = re.search(r"`MockProxy\(([^)]*)\)`", TEXT)
    assert names is not None
    assert names[1].split(", ") == list(inspect.signature(MockProxy).parameters)[:4]


def test_the_example_of_a_fault_script_is_one() -> None:
    rules = json.loads(TEXT.split("```json\n", 1)[1].split("```", 1)[0])
    with MockTenant(TenantConfig(alerts=0, faults=rules)) as tenant:
        assert len(tenant.faults.describe()) == 3


def test_the_log_has_the_words_that_are_named(shared: MockTenant) -> None:
    shared.clear_requests()
    requests.get(f"{shared.url}/v1.0/security/alerts_v2", verify=shared.ca_path, timeout=10)
    section = TEXT.split("\n## The log of requests\n", 1)[1].split("\n## ", 1)[0]
    assert [name for name in shared.requests[0] if f"`{name}`" not in section] == []
