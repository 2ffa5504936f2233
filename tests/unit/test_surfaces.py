# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every surface says the same about an option: the engine's table, argument specs, documentation, the action group."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml")
pytest.importorskip("ansible.module_utils.basic")

ROOT = Path(__file__).resolve().parents[2]
NAME = "ansible_collections.secops.defender"
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))
LOOKUPS = sorted(path.stem for path in (ROOT / "plugins" / "lookup").glob("*.py"))
GROUP = "wdatp"

options = importlib.import_module(f"{NAME}.plugins.module_utils._wdatp.options")
# Where a plugin's options stand; a new plugin gets its line here, or test_every_plugin_is_known fails.
TABLES = {
    "wdatp_credential": options.CREDENTIAL,
    "wdatp_credential_info": options.CREDENTIAL_INFO,
    "wdatp_test_connectivity": options.CONNECTIVITY,
    "wdatp_pull_events": (*options.CONNECTION, *options.PULL),
    "wdatp_alerts": options.LOOKUP,
    "wdatp_program": options.PROGRAM,
    "wdatp_report": options.REPORT,
    "wdatp_pull_job": options.JOB,
    "wdatp_pull_job_info": options.JOB_INFO,
}
# What wdatp_credential stores is what its task gives; the environment counts when the credential is used.
STORED_AS_GIVEN = {
    "wdatp_credential": {
        "auth_method",
        "client_certificate_path",
        "client_certificate_password",
        *(option.name for option in options.TARGET),
    }
}


# --- documentation, with its fragments, as Ansible merges it ----------------------------------------------------------


def _documentation(kind: str, name: str) -> dict[str, Any]:
    tree = ast.parse((ROOT / "plugins" / kind / f"{name}.py").read_text("utf-8"))
    texts = {
        node.targets[0].id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
    }
    doc = yaml.safe_load(texts["DOCUMENTATION"])
    for fragment in doc.get("extends_documentation_fragment", []):
        _merge(doc, _fragment(fragment))
    return doc


def _fragment(name: str) -> dict[str, Any]:
    prefix, _dot, rest = name.partition("secops.defender.")
    assert not prefix, f"{name} is of another collection"
    plugin, _dot, variant = rest.partition(".")
    module = importlib.import_module(f"{NAME}.plugins.doc_fragments.{plugin}")
    return yaml.safe_load(getattr(module.ModuleDocFragment, variant.upper() or "DOCUMENTATION"))


def _merge(doc: dict[str, Any], fragment: dict[str, Any]) -> None:
    for section in ("options", "attributes"):
        for name, entry in fragment.get(section, {}).items():
            into = doc.setdefault(section, {})
            into[name] = {**entry, **into.get(name, {})}


def _check_documented(table: tuple[Any, ...], documented: dict[str, Any], path: str = "") -> None:
    assert set(documented) == {option.name for option in table}, f"options of {path or 'the plugin'}"
    for option in table:
        entry, where = documented[option.name], f"{path}{option.name}"
        assert entry.get("type", "str") == option.type, f"type of {where}"
        assert entry.get("default") == option.default, f"default of {where}"
        assert entry.get("choices", []) == list(option.choices), f"choices of {where}"
        assert entry.get("elements", "") == option.elements, f"elements of {where}"
        assert entry.get("required", False) == option.required, f"required of {where}"
        assert entry.get("description"), f"description of {where}"
        _check_documented(option.options, entry.get("suboptions", {}), f"{where}.")


@pytest.mark.parametrize("name", [*MODULES, *LOOKUPS])
def test_every_plugin_is_known(name: str) -> None:
    assert name in TABLES, f"say in TABLES which options {name} has"


@pytest.mark.parametrize("name", MODULES)
def test_module_documentation(name: str) -> None:
    doc = _documentation("modules", name)
    assert doc["module"] == name
    _check_documented(TABLES[name], doc["options"])


@pytest.mark.parametrize("name", MODULES)
def test_documentation_names_the_environment(name: str) -> None:
    """A module's documentation has no env entries: a variable that counts must stand in the option's text."""
    documented = _documentation("modules", name)["options"]
    for option in TABLES[name]:
        if option.env and option.name not in STORED_AS_GIVEN.get(name, ()):
            assert f"E({option.env})" in " ".join(documented[option.name]["description"]), option.name


@pytest.mark.parametrize("name", LOOKUPS)
def test_lookup_documentation(name: str) -> None:
    doc = _documentation("lookup", name)
    assert doc["name"] == name
    documented = dict(doc["options"])
    # What follows the lookup's name are credentials, and no option of the table.
    documented.pop("_terms", None)
    table = TABLES[name] if "credential" in documented else tuple(o for o in TABLES[name] if o.name != "credential")
    _check_documented(table, documented)
    for option in table:
        names = [entry["name"] for entry in documented[option.name].get("env", [])]
        assert names == ([option.env] if option.env else []), f"env of {option.name}"


# --- argument specs ---------------------------------------------------------------------------------------------------


class _Stop(Exception):
    """Raised in place of running the module."""


def _argument_spec(name: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    seen: dict[str, Any] = {}

    def stop(self: Any, **kwargs: Any) -> None:
        seen.update(kwargs)
        raise _Stop

    monkeypatch.setattr("ansible.module_utils.basic.AnsibleModule.__init__", stop)
    module = importlib.import_module(f"{NAME}.plugins.modules.{name}")
    with pytest.raises(_Stop):
        module.main()
    assert seen["supports_check_mode"] is True
    return seen["argument_spec"]


def _check_spec(table: tuple[Any, ...], spec: dict[str, Any]) -> None:
    assert set(spec) == {option.name for option in table}
    for option in table:
        entry = spec[option.name]
        assert entry["type"] == option.type
        assert entry.get("default") == option.default
        assert entry.get("choices", []) == list(option.choices)
        assert entry.get("elements", "") == option.elements
        assert entry.get("required", False) == option.required
        assert entry.get("no_log", False) is option.secret
        wants_fallback = option.env and option.default is not None
        assert entry.get("fallback", (None, []))[1] == ([option.env] if wants_fallback else [])
        _check_spec(option.options, entry.get("options", {}))


@pytest.mark.parametrize("name", MODULES)
def test_argument_spec(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _check_spec(TABLES[name], _argument_spec(name, monkeypatch))


@pytest.mark.parametrize("name", MODULES)
def test_what_looks_like_a_secret_says_whether_it_is(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for option, entry in _argument_spec(name, monkeypatch).items():
        if any(part in option for part in ("pass", "secret", "token", "key")):
            assert "no_log" in entry, option


# --- the action group -------------------------------------------------------------------------------------------------


def test_action_group_has_all_modules() -> None:
    runtime = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text("utf-8"))
    assert set(MODULES) <= set(runtime["action_groups"][GROUP])
    assert sorted(runtime["action_groups"][GROUP]) == runtime["action_groups"][GROUP]
    assert set(runtime["action_groups"][GROUP]) <= set(TABLES), "a member that is no module"


@pytest.mark.parametrize("name", MODULES)
def test_documented_as_member_of_the_action_group(name: str) -> None:
    attributes = _documentation("modules", name)["attributes"]
    assert attributes["action_group"]["membership"] == [f"secops.defender.{GROUP}"]
    for attribute in ("check_mode", "diff_mode", "idempotent"):
        assert attributes[attribute]["support"] in ("full", "partial", "none", "N/A")
        assert attributes[attribute]["description"]


# --- values that stand in the table because the engine has them -------------------------------------------------------


def test_shared_options_are_the_same_everywhere() -> None:
    """An option that several plugins take has one default and one variable."""
    seen: dict[str, Any] = {}
    for name, table in TABLES.items():
        for option in table:
            if option.env:
                known = seen.setdefault(option.name, option)
                assert known == option, f"{option.name} of {name}"


# --- libraries --------------------------------------------------------------------------------------------------------


def test_every_place_asks_for_the_same_libraries() -> None:
    """The engine's table, the documentation, the execution environment, and the role: what it accepts and installs."""
    wanted = importlib.import_module(f"{NAME}.plugins.module_utils._wdatp.version").LIBRARIES
    told = _fragment("secops.defender._connection")["requirements"]
    environment = (ROOT / "meta" / "ee-requirements.txt").read_text("utf-8").splitlines()
    role = ROOT / "roles" / "pull_job"
    floors = yaml.safe_load((role / "vars" / "main.yml").read_text("utf-8"))["__pull_job_floors"]
    installed = yaml.safe_load((role / "defaults" / "main.yml").read_text("utf-8"))["pull_job_requirements"]
    assert floors == wanted
    for lines in (told, environment, installed):
        assert {line.replace(" ", "") for line in lines} == {f"{name}>={least}" for name, least in wanted.items()}
