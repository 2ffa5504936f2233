# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One API of one tenant: tokens that are renewed, and answers that are errors, in words."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp.auth import Authenticator
from ansible_collections.secops.defender.plugins.module_utils._wdatp.client import Client, error_body
from ansible_collections.secops.defender.plugins.module_utils._wdatp.config import Connection
from ansible_collections.secops.defender.plugins.module_utils._wdatp.errors import ApiError
from ansible_collections.secops.defender.plugins.module_utils._wdatp.redact import Redactor
from ansible_collections.secops.defender.plugins.module_utils._wdatp.sources.registry import source_of
from ansible_collections.secops.defender.plugins.module_utils._wdatp.transport import Transport
from mock_api import MockTenant

APIS = ("graph_alerts", "graph_incidents", "mde_alerts", "alert_exporter")


@pytest.fixture
def client(connection_to: Callable[..., Connection]) -> Callable[..., Client]:
    def make(**options: Any) -> Client:
        connection = connection_to(**{"retries": 1, **options})
        transport = Transport(connection.http, sleep=lambda seconds: None)
        return Client(connection, source_of(connection.target.api), transport, Redactor())

    return make


def ask(client: Client) -> Any:
    return json.loads(client.get(client.source.probe_params(client.transport.server_now())).body)


def refusal(client: Client) -> ApiError:
    with pytest.raises(ApiError) as caught:
        ask(client)
    assert client.auth.token().access_token not in str(caught.value)
    return caught.value


def api_requests(tenant: MockTenant) -> list[dict[str, Any]]:
    return [entry for entry in tenant.requests if entry["leg"] not in ("token", "discovery")]


@pytest.mark.parametrize("api", APIS)
def test_every_api_answers(tenant: MockTenant, client: Callable[..., Client], api: str) -> None:
    found = ask(client(api=api))
    assert len(found if isinstance(found, list) else found["value"]) == 1
    (sent,) = api_requests(tenant)
    assert sent["leg"] == api
    assert ("Prefer" in sent["headers"]) == api.startswith("graph")


def test_a_token_that_ran_out_is_renewed_once(tenant: MockTenant, client: Callable[..., Client]) -> None:
    one = client()
    ask(one)
    # As after a pause of the whole machine: what the engine takes for good has expired at Microsoft's.
    tenant.configure(clock_skew_seconds=4000)
    assert len(ask(one)["value"]) in (0, 1)
    assert [entry["status"] for entry in api_requests(tenant)] == [200, 401, 200]


def test_a_token_that_stays_refused_is_an_error(tenant: MockTenant, client: Callable[..., Client]) -> None:
    tenant.set_faults([{"match": {"leg": "api"}, "do": {"status": 401}}])
    error = refusal(client())
    assert (error.code, error.status) == ("api.unauthorized", 401)
    assert "https://graph.microsoft.com/.default" in error.remedy
    assert len(api_requests(tenant)) == 2


@pytest.mark.parametrize(
    "header",
    [
        'Bearer error="insufficient_claims", claims="eyJhIjoxfQ=="',
        'Bearer error="insufficient_claims", claims="{\\"a\\":1}", realm=""',
    ],
)
def test_a_claims_challenge_is_answered(
    tenant: MockTenant, client: Callable[..., Client], monkeypatch: pytest.MonkeyPatch, header: str
) -> None:
    renewed: list[str | None] = []
    real = Authenticator.renew
    monkeypatch.setattr(
        Authenticator, "renew", lambda self, claims=None: (renewed.append(claims), real(self, claims))[1]
    )
    do = {"status": 401, "headers": {"WWW-Authenticate": header}}
    tenant.set_faults([{"match": {"leg": "api", "n": 1}, "do": do}])
    assert len(ask(client())["value"]) == 1
    assert renewed in (["eyJhIjoxfQ=="], ['{"a":1}'])


def test_the_mocks_own_challenge(tenant: MockTenant, client: Callable[..., Client]) -> None:
    tenant.set_faults([{"match": {"leg": "api", "n": 1}, "do": {"claims_challenge": True}}])
    assert len(ask(client())["value"]) == 1
    assert [entry["status"] for entry in api_requests(tenant)] == [401, 200]


@pytest.mark.parametrize(
    ("api", "role", "resource"),
    [
        ("graph_alerts", "SecurityAlert.Read.All", "Microsoft Graph"),
        ("graph_incidents", "SecurityIncident.Read.All", "Microsoft Graph"),
        ("mde_alerts", "Alert.Read.All", "WindowsDefenderATP"),
    ],
)
def test_a_missing_role_is_named(
    tenant: MockTenant, client: Callable[..., Client], api: str, role: str, resource: str
) -> None:
    tenant.configure(roles={"graph": ["Other.Read.All"], "mde": []})
    error = refusal(client(api=api))
    assert (error.code, error.status) == ("api.forbidden", 403)
    has = "none" if api == "mde_alerts" else "Other.Read.All"
    assert f"roles in the token: {has}" in error.message
    assert role in error.remedy
    assert resource in error.remedy


def test_the_wrong_audience(tenant: MockTenant, client: Callable[..., Client]) -> None:
    error = refusal(client(api="mde_alerts", scope="https://graph.microsoft.com/.default"))
    assert error.code == "api.unauthorized"
    assert "https://graph.microsoft.com/.default" in error.remedy


@pytest.mark.parametrize(
    ("do", "code", "words"),
    [
        ({"status": 302, "body": "", "headers": {"Location": "https://x.example/"}}, "api.redirect", "never followed"),
        ({"status": 404}, "api.not_found", "no such API"),
        ({"status": 429, "retry_after": 77}, "api.throttled", "after 77 s"),
        ({"status": 503}, "api.unavailable", "Run again later"),
        ({"status": 400}, "api.refused", "BadRequest"),
        ({"status": 403, "body": "<html>Access denied"}, "api.forbidden", "<html>Access denied"),
        ({"status": 204, "body": ""}, "api.refused", "204"),
    ],
)
def test_answers_that_are_errors(
    tenant: MockTenant, client: Callable[..., Client], do: dict[str, Any], code: str, words: str
) -> None:
    tenant.set_faults([{"match": {"leg": "api"}, "do": do}])
    error = refusal(client(retries=0))
    assert error.code == code
    assert words in str(error)
    assert f"{tenant.url[8:]}/v1.0/security/alerts_v2" in error.message
    assert error.remedy


def test_a_partial_answer_is_an_answer(tenant: MockTenant, client: Callable[..., Client]) -> None:
    tenant.set_faults([{"match": {"leg": "api"}, "do": {"status": 206}}])
    one = client()
    assert one.get(one.source.probe_params(one.transport.server_now())).status == 206


def test_secrets_in_an_answer_are_masked(tenant: MockTenant, client: Callable[..., Client]) -> None:
    text = f"bad secret {tenant.client_secret}"
    tenant.set_faults(
        [{"match": {"leg": "api"}, "do": {"status": 400, "body": {"error": {"code": "X", "message": text}}}}]
    )
    error = refusal(client())
    assert "(X: bad secret ********)" in error.message


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"error":{"code":"BadRequest","message":"No.\\nMore"}}', ("BadRequest", "No")),
        (
            b'{"error":{"code":"","message":"The limit of \'50\' was exceeded."}}',
            ("", "The limit of '50' was exceeded"),
        ),
        (b'\xef\xbb\xbf{"Message":"An error has occurred."}', ("", "An error has occurred")),
        (b'{"error":"invalid_grant","error_description":"x"}', ("invalid_grant", "")),
        (b"[]", ("[]", "")),
        (b"<html>\n<body>", ("", "<html>")),
        (b"", ("", "")),
        (b"[" * 100_000, ("", "[" * 160)),
        (b'{"error":{"code":null,"message":null}}', ("", "")),
    ],
)
def test_error_bodies_of_every_form(body: bytes, found: tuple[str, str]) -> None:
    assert error_body(body) == found
