# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What AWX is given: a credential type and surveys that it accepts, and that say what the engine and the playbooks say.

The rules are those of AWX's own validators (awx/main/fields.py, awx/api/views: SurveySpec).
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml")
sandbox = pytest.importorskip("jinja2.sandbox")

ROOT = Path(__file__).resolve().parents[2]
AWX = ROOT / "playbooks" / "files" / "awx"
SURVEYS = sorted((AWX / "surveys").glob("*.yml"))
options = importlib.import_module("ansible_collections.secops.defender.plugins.module_utils._wdatp.options")
BY_ENV = {option.env: option for option in options.CONNECTION if option.env}
FIELD_KEYS = {
    "id",
    "label",
    "type",
    "format",
    "choices",
    "help_text",
    "multiline",
    "secret",
    "ask_at_runtime",
    "default",
}


@pytest.fixture(scope="module")
def credential_type() -> dict[str, Any]:
    return yaml.safe_load((AWX / "credential_type.yml").read_text("utf-8"))


def test_inputs_are_what_awx_accepts(credential_type: dict[str, Any]) -> None:
    assert set(credential_type["inputs"]) == {"fields", "required"}
    ids = [item["id"] for item in credential_type["inputs"]["fields"]]
    assert len(set(ids)) == len(ids)
    assert set(credential_type["inputs"]["required"]) <= set(ids)
    for item in credential_type["inputs"]["fields"]:
        assert set(item) <= FIELD_KEYS
        assert re.fullmatch(r"[a-zA-Z_]+[a-zA-Z0-9_]*", item["id"])
        assert item["id"] != "tower"
        assert item["type"] in ("string", "boolean")
        if item["type"] == "boolean":
            assert not set(item) & {"choices", "multiline", "format", "secret"}


def test_what_is_secret_is_secret(credential_type: dict[str, Any]) -> None:
    secret = {item["id"] for item in credential_type["inputs"]["fields"] if item.get("secret")}
    assert secret == {"client_secret", "certificate", "certificate_password", "proxy"}
    assert "extra_vars" not in credential_type["injectors"]


def test_the_environment_is_the_engine_s(credential_type: dict[str, Any]) -> None:
    """No name that nobody reads, none that AWX refuses, and the engine's own words."""
    env = credential_type["injectors"]["env"]
    assert set(env) <= set(BY_ENV)
    assert not [name for name in env if name.startswith("ANSIBLE_")]
    missing = {name for name in BY_ENV if name not in env}
    # Where it is, and how fast: not the credential's business.
    assert missing == {
        "AZURE_FEDERATED_TOKEN_FILE",
        "WDATP_CONFIG_DIR",
        "WDATP_REQUESTS_PER_MINUTE",
        "WDATP_RUNTIME_DIR",
        "WDATP_TOKEN_CACHE",
    }
    for item in credential_type["inputs"]["fields"]:
        option = BY_ENV.get(f"WDATP_{item['id'].upper()}")
        if option is not None and option.choices:
            assert item["choices"] == list(option.choices)


def rendered(credential_type: dict[str, Any], **values: Any) -> dict[str, str]:
    """As AWX renders: text that was left empty is empty, a boolean that was left alone is false."""
    inputs = {item["id"]: False if item["type"] == "boolean" else "" for item in credential_type["inputs"]["fields"]}
    names = {"certificate": "/runner/cert", "ca": "/runner/ca"}
    environment = sandbox.ImmutableSandboxedEnvironment()
    context = {**inputs, **values, "tower": {"filename": names}}
    injected = credential_type["injectors"]["env"].items()
    return {name: environment.from_string(template).render(context) for name, template in injected}


def test_what_is_injected(credential_type: dict[str, Any]) -> None:
    files = credential_type["injectors"]["file"]
    assert set(files) == {"template.certificate", "template.ca"}
    found = rendered(credential_type, tenant_id="t", client_secret="s")
    assert {name: value for name, value in found.items() if value} == {
        "WDATP_TENANT_ID": "t",
        "WDATP_CLIENT_SECRET": "s",
    }
    more = rendered(credential_type, certificate="pem", ca="pem", skip_certificate_check=True)
    assert more["WDATP_CLIENT_CERTIFICATE_PATH"] == "/runner/cert"
    assert more["WDATP_CA_PATH"] == "/runner/ca"
    assert more["WDATP_VALIDATE_CERTS"] == "false"


def test_the_playbooks_hand_on_what_is_injected(credential_type: dict[str, Any]) -> None:
    text = (ROOT / "playbooks" / "vars" / "identity.yml").read_text("utf-8")
    read = dict(re.findall(r"'(\w+)': lookup\('ansible.builtin.env', '(\w+)'\)", text))
    assert set(read.values()) == set(credential_type["injectors"]["env"])
    for name, env in read.items():
        assert BY_ENV[env].name == name


@pytest.mark.parametrize("path", SURVEYS, ids=lambda path: path.stem)
def test_surveys_are_what_awx_accepts(path: Path) -> None:
    survey = yaml.safe_load(path.read_text("utf-8"))
    assert set(survey) == {"name", "description", "spec"}
    playbook = (ROOT / "playbooks" / path.name).read_text("utf-8")
    role = (ROOT / "roles" / "pull_job" / "defaults" / "main.yml").read_text("utf-8")
    for question in survey["spec"]:
        assert set(question) >= {"question_name", "question_description", "variable", "type", "required", "default"}
        assert question["type"] in ("text", "textarea", "password", "multiplechoice", "multiselect", "integer", "float")
        # What is asked is what is used.
        assert re.search(rf"\b{question['variable']}\b", playbook + role), question["variable"]
        if question["type"] in ("multiplechoice", "multiselect"):
            assert all(isinstance(choice, str) for choice in question["choices"])
            assert question["default"] in ("", *question["choices"])
        elif question["type"] in ("text", "textarea"):
            assert question["min"] <= len(question["default"]) <= question["max"]
        if question["required"]:
            assert question["default"] != ""


def test_each_survey_belongs_to_a_playbook_for_awx() -> None:
    """AWX lists a playbook by a line that begins with hosts."""
    assert [path.stem for path in SURVEYS] == ["deploy_collectors", "pull_once", "report", "test_connectivity"]
    for path in SURVEYS:
        assert re.search(r"^\s*-?\s*hosts:", (ROOT / "playbooks" / path.name).read_text("utf-8"), re.MULTILINE)
