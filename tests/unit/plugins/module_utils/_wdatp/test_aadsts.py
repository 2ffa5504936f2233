# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of Entra ID's errors: every known code has its words, and none of them tells a secret."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp.aadsts import MEANINGS, code_of, explain
from ansible_collections.secops.defender.plugins.module_utils._wdatp.config import Connection, resolve_one
from ansible_collections.secops.defender.plugins.module_utils._wdatp.redact import Redactor, forms_of
from ansible_collections.secops.defender.plugins.module_utils._wdatp.secrets import FileSecret

# Of learn.microsoft.com/entra/identity-platform/reference-error-codes, those that an app by itself can meet.
CODES = (
    "7000215 7000222 7000218 70002 700016 700011 7000112 70001 90002 90038 900382 900432 700027 700030 50012 700229 "
    "700025 500011 50001 650057 650052 650056 65001 70011 28002 1002012 700022 901002 900144 90014 9001023 53003 "
    "530032 500021 500022 50034 50128 50059 50194 50196 90055 90012 90024 90033 90006"
)
PASSING = {50196, 90055, 90012, 90024, 90033, 90006}
SECRET = "Abc8Q~se.cret/value+1"
TENANT = "0f3c1f6e-8f2b-4f5e-9d6b-1c2d3e4f5a6b"
CLIENT = "6d5c4b3a-2f1e-4d0c-8b9a-7f6e5d4c3b2a"


def connection(**options: Any) -> Connection:
    known = {"tenant_id": TENANT, "client_id": CLIENT, "client_secret": SECRET, "cloud": "gcc_high"}
    return resolve_one({**known, **options}, {})


def body(code: int, error: str = "invalid_client", text: str = "Something is wrong. Look there.") -> dict[str, Any]:
    description = f"AADSTS{code}: {text}\r\nTrace ID: 1234\r\nCorrelation ID: 5678\r\nTimestamp: 2026-11-24 08:00:00Z"
    return {"error": error, "error_description": description, "error_codes": [code]}


def test_the_table_has_every_code_of_the_reference() -> None:
    assert {int(code) for code in CODES.split()} <= set(MEANINGS)


@pytest.mark.parametrize("code", sorted(MEANINGS))
def test_every_code_says_what_where_and_what_to_change(code: int) -> None:
    error = explain(body(code), connection(), Redactor())
    assert error.code.startswith("auth.")
    assert error.aadsts == code
    assert f"AADSTS{code}" in error.message
    assert TENANT in error.message
    assert "login.microsoftonline.us" in error.message
    # One sentence that says what, and no more than two that say what to do.
    assert re.fullmatch(r"[^{}]+[^.{}]\.", error.message)
    assert re.fullmatch(r"[A-Z][^{}]+[^.{}]\.", error.remedy)
    assert len(re.findall(r"\.\s", error.remedy)) <= 1
    assert not [form for form in forms_of(SECRET) if form in str(error)]
    assert error.is_final == (code not in PASSING)


@pytest.mark.parametrize("code", [7000215, 70002])
@pytest.mark.parametrize("secret", ["1b2e3f4a-1111-4222-8333-444455556666", "1B2E3F4A-1111-4222-8333-444455556666"])
def test_an_id_in_place_of_the_secret_is_recognised(code: int, secret: str) -> None:
    error = explain(body(code), connection(client_secret=secret), Redactor())
    assert error.code == "auth.secret_id"
    assert "ID" in error.message
    assert secret not in str(error)


def test_an_unreadable_secret_is_no_reason_to_fail_twice() -> None:
    broken = connection()
    broken = replace(broken, identity=replace(broken.identity, secret=FileSecret("/nonexistent/secret")))
    error = explain(body(7000215), broken, Redactor())
    assert error.code == "auth.invalid_secret"
    assert "file /nonexistent/secret" in error.message


def test_an_unknown_code_gets_microsofts_own_words_without_secrets() -> None:
    redactor = Redactor()
    redactor.add(SECRET)
    error = explain(body(4711, text=f"The thing '{SECRET}' at https://a.b/c is bad. More."), connection(), redactor)
    assert error.code == "auth.failed"
    assert "(AADSTS4711): The thing '********' at https://a.b/c is bad." in error.message
    assert "Trace ID" not in str(error)
    assert SECRET not in str(error)
    assert error.is_final


@pytest.mark.parametrize("error", ["temporarily_unavailable", "server_error"])
def test_what_passes_by_its_oauth_name(error: str) -> None:
    found = explain({"error": error, "error_description": "The mock tenant was told to fail."}, connection())
    assert found.code == "auth.unavailable"
    assert not found.is_final


@pytest.mark.parametrize(
    "value", [{}, {"error": None}, {"error_description": 7}, {"error_codes": ["x"]}, {"error": "x" * 500}]
)
def test_any_body_is_explained(value: dict[str, Any]) -> None:
    error = explain(value, connection())
    assert TENANT in error.message
    assert len(error.message) < 600


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ({}, 0),
        ({"error_codes": []}, 0),
        ({"error_codes": [90002, 1]}, 90002),
        ({"error_codes": ["90002"]}, 90002),
        ({"error_codes": None, "error_description": "AADSTS50196: x"}, 50196),
        ({"error_codes": ["-1"], "error_description": "nothing"}, 0),
    ],
)
def test_codes_are_found_where_they_stand(value: dict[str, Any], code: int) -> None:
    assert code_of(value) == code


METHODS: list[tuple[dict[str, Any], str]] = [
    ({"client_secret": None, "client_certificate_path": "/etc/wdatp/app.pem"}, "/etc/wdatp/app.pem"),
    ({"client_secret": None, "federated_token_file": "/run/token"}, "/run/token"),
]


@pytest.mark.parametrize(("options", "words"), METHODS)
@pytest.mark.parametrize("code", sorted(MEANINGS))
def test_the_words_fit_every_method(code: int, options: dict[str, Any], words: str) -> None:
    error = explain(body(code), connection(**options))
    assert "{" not in str(error)
    if code in (700027, 700213):
        assert (words in error.message) == ((code == 700027) == ("client_certificate_path" in options))


def test_the_message_begins_with_who_refused() -> None:
    assert explain(body(90002), connection(cloud="commercial")).message.startswith(
        "Microsoft Entra ID (login.microsoftonline.com) gave no token for the tenant "
    )
