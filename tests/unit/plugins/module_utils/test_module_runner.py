# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("ansible.module_utils.basic")

from ansible_collections.secops.defender.plugins.module_utils._argspec import argument_spec
from ansible_collections.secops.defender.plugins.module_utils._module import Context, Failed, run
from ansible_collections.secops.defender.plugins.module_utils._wdatp.errors import CredentialError, DependencyError
from ansible_collections.secops.defender.plugins.module_utils._wdatp.options import CONNECTION, CREDENTIAL, Option

SECRET = 'Qx8~a/b+c=d"e'
OPTIONS = (Option("client_secret", secret=True), Option("proxy"), Option("name", default="x", env="WDATP_TEST_NAME"))


@pytest.fixture
def result_of(run_module: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    def result(work: Callable[[dict[str, Any], Context], dict[str, Any]], **options: Any) -> dict[str, Any]:
        return run_module(lambda: run(OPTIONS, work), options)

    return result


def raising(error: Exception) -> Callable[[dict[str, Any], Context], dict[str, Any]]:
    def work(params: dict[str, Any], context: Context) -> dict[str, Any]:
        raise error

    return work


# --- argument specs


def test_a_default_and_a_variable_make_a_fallback(monkeypatch: pytest.MonkeyPatch, result_of: Any) -> None:
    def work(params: dict[str, Any], context: Context) -> dict[str, Any]:
        return {"seen": params["name"]}

    assert result_of(work)["seen"] == "x"
    monkeypatch.setenv("WDATP_TEST_NAME", "from the environment")
    assert result_of(work)["seen"] == "from the environment"
    assert result_of(work, name="given")["seen"] == "given"


def test_without_default_the_environment_is_left_to_the_engine() -> None:
    spec = argument_spec(CONNECTION)
    assert "fallback" not in spec["tenant_id"]
    assert spec["config_dir"]["fallback"][1] == ["WDATP_CONFIG_DIR"]


def test_secrets_are_said_to_be_secrets() -> None:
    spec = argument_spec(CREDENTIAL)
    assert {name for name, entry in spec.items() if entry.get("no_log")} == {
        "client_secret",
        "client_certificate_password",
    }
    for name in ("secret_storage", "update_secret", "client_secret_file", "client_certificate_path"):
        assert spec[name]["no_log"] is False
    assert spec["federated_token_file"]["no_log"] is False
    assert spec["tenants"]["options"]["organization"] == {"type": "str", "required": True}


# --- results and errors


def test_result(result_of: Any) -> None:
    result = result_of(lambda params, context: {"changed": True, "check": context.check_mode, "diff": context.diff})
    assert (result["changed"], result["check"], result["diff"]) == (True, False, False)


def test_an_error_says_what_is_wrong_and_what_to_change(result_of: Any) -> None:
    result = result_of(raising(CredentialError("There is none.", "Make one.", code="credential.unknown")))
    assert result["failed"] is True
    assert result["msg"] == "There is none. Make one."
    assert result["error"] == {"code": "credential.unknown", "message": "There is none.", "remedy": "Make one."}
    assert "exception" not in result


def test_a_failed_task_may_keep_its_return_values(result_of: Any) -> None:
    result = result_of(raising(Failed(CredentialError("Wrong.", "Right."), {"changed": True, "written": 5})))
    assert (result["failed"], result["changed"], result["written"]) == (True, True, 5)
    assert result["error"]["code"] == "credential.invalid"
    result = result_of(raising(Failed("One tenant of two failed.", {"written": 5})))
    assert result["msg"] == "One tenant of two failed."
    assert "error" not in result


def test_a_missing_library(result_of: Any) -> None:
    result = result_of(raising(DependencyError("msal")))
    assert "Failed to import the required Python library (msal)" in result["msg"]
    assert result["error"]["code"] == "dependency.missing"


def test_a_bug_shows_its_traceback(result_of: Any) -> None:
    result = result_of(raising(KeyError(SECRET)), client_secret=SECRET)
    assert "A bug in this collection: KeyError" in result["msg"]
    assert result["error"]["code"] == "bug"
    assert "    raise error" in result["error"]["traceback"]
    assert "Qx8" not in json.dumps(result)


# --- secrets


def forms(secret: str) -> str:
    encoded = base64.b64encode(f"user:{secret}".encode()).decode()
    return f"{secret} {encoded} {json.dumps(secret)} {secret.replace('/', '%2F')}"


def assert_hidden(result: dict[str, Any], secret: str = SECRET) -> None:
    text = json.dumps(result)
    assert secret not in text
    assert json.dumps(secret)[1:-1] not in text
    assert base64.b64encode(f"user:{secret}".encode()).decode()[8:-4] not in text
    assert secret.partition("/")[2] not in text


def test_a_given_secret_shows_in_no_form(result_of: Any) -> None:
    result = result_of(
        lambda params, context: {"text": forms(SECRET), "list": [{"x": forms(SECRET)}]}, client_secret=SECRET
    )
    assert_hidden(result)
    result = result_of(raising(CredentialError(forms(SECRET), forms(SECRET))), client_secret=SECRET)
    assert_hidden(result)


def test_a_secret_that_the_work_meets(result_of: Any) -> None:
    def work(params: dict[str, Any], context: Context) -> dict[str, Any]:
        context.redactor.add(SECRET)
        context.warn(f"warning {forms(SECRET)}")
        return {"text": forms(SECRET)}

    result = result_of(work)
    assert_hidden(result)
    assert "warning ********" in json.dumps(result)


def test_a_secret_in_the_environment(monkeypatch: pytest.MonkeyPatch, run_module: Any) -> None:
    monkeypatch.setenv("WDATP_CLIENT_SECRET", SECRET)
    monkeypatch.setenv("WDATP_PROXY", "http://carl:p%40ss-word@proxy")
    text = forms(SECRET) + " p%40ss-word p@ss-word"
    result = run_module(lambda: run(CONNECTION, lambda params, context: {"text": text}), {})
    assert_hidden(result)
    assert "ss-word" not in json.dumps(result)


@pytest.mark.parametrize("more", [{}, {"nonsense": 1}])
def test_the_proxys_password_shows_nowhere(result_of: Any, more: dict[str, Any]) -> None:
    """Also where AnsibleModule itself refuses the options."""
    result = result_of(lambda params, context: {}, proxy="http://carl:p%40ss-word@proxy:3128", **more)
    assert result.get("failed", False) is bool(more)
    assert "ss-word" not in json.dumps(result)
    assert "proxy:3128" in json.dumps(result)
