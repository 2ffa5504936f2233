# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Entra ID: discovery, secrets, assertions, scopes, and what it says when something is wrong."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import jwt
import msal
import pytest
import requests
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate
from mock_api import MockTenant
from mock_api.aadsts import ERRORS
from mock_api.assertions import ASSERTION_TYPE, thumbprints
from mock_api.pki import rsa_key
from mock_client import Client, error_of, rows, serve

GRAPH = "https://graph.microsoft.com/.default"


@pytest.fixture(scope="module")
def shared() -> Iterator[MockTenant]:
    knobs: dict[str, Any] = {
        "alerts": 20,
        "tenants": 3,
        "secrets": ["rotated"],
        "expired_secrets": ["old"],
        "foreign_tenants": ["fabrikam.example"],
        "unconsented_tenants": ["customer2.example"],
        "missing_resources": ["https://api.securitycenter.microsoft.com"],
    }
    with serve(**knobs) as tenant:
        yield tenant


def claims_of(token: str) -> dict[str, Any]:
    return jwt.decode(token, options={"verify_signature": False})


def aadsts(response: requests.Response, code: int, status: int = 0) -> dict[str, Any]:
    body: dict[str, Any] = response.json()
    assert body["error_codes"] == [code], body
    assert body["error_description"].startswith(f"AADSTS{code}: ")
    assert response.status_code == (status or ERRORS[code][0])
    for part in ("Trace ID: " + body["trace_id"], "Correlation ID: " + body["correlation_id"], "Timestamp: "):
        assert f"\r\n{part}" in body["error_description"]
    assert set(body) >= {"error", "timestamp", "error_uri"}
    return body


# --- what works -------------------------------------------------------------------------------------------------------


def test_version_2_gives_a_token(client: Client) -> None:
    response = client.ask_token()
    body = response.json()
    assert {key: body[key] for key in ("token_type", "expires_in", "ext_expires_in")} == {
        "token_type": "Bearer",
        "expires_in": 3599,
        "ext_expires_in": 3599,
    }
    assert response.headers["Cache-Control"] == "no-store, no-cache"
    claims = claims_of(body["access_token"])
    assert (claims["aud"], claims["tid"]) == ("https://graph.microsoft.com", client.tenant_id)
    assert claims["appid"] == client.tenant.client_id
    assert claims["roles"] == ["SecurityAlert.Read.All", "SecurityIncident.Read.All"]


def test_version_1_counts_in_strings(client: Client) -> None:
    body = client.ask_token(version="", resource="https://graph.windows.net").json()
    assert body["resource"] == "https://graph.windows.net"
    assert all(isinstance(body[key], str) for key in ("expires_in", "ext_expires_in", "expires_on", "not_before"))
    assert int(body["expires_on"]) - int(body["not_before"]) == 3599
    assert "roles" not in claims_of(body["access_token"])


def test_the_secret_may_come_by_http_basic(client: Client) -> None:
    tenant = client.tenant
    login = base64.b64encode(f"{tenant.client_id}:{tenant.client_secret}".encode()).decode()
    body = {"grant_type": "client_credentials", "scope": GRAPH}
    url = f"{tenant.url}/contoso.example/oauth2/v2.0/token"
    response = client.session.post(url, data=body, headers={"Authorization": f"Basic {login}"}, verify=tenant.ca_path)
    assert response.status_code == 200, response.text


def test_a_second_secret_and_a_domain_name(client: Client) -> None:
    assert client.ask_token("Contoso.example", client_secret="rotated").status_code == 200


def test_discovery_and_keys(client: Client) -> None:
    base = f"{client.tenant.url}/{client.tenant_id}"
    found = client.fetch(f"{base}/v2.0/.well-known/openid-configuration", {}).json()
    assert found["token_endpoint"] == f"{base}/oauth2/v2.0/token"
    assert found["issuer"] == f"{base}/v2.0"
    key = jwt.PyJWK(client.fetch(found["jwks_uri"], {}).json()["keys"][0])
    token = client.ask_token().json()["access_token"]
    assert jwt.decode(token, key, algorithms=["RS256"], audience="https://graph.microsoft.com")["ver"] == "1.0"
    first = client.fetch(f"{base}/.well-known/openid-configuration", {}).json()
    assert first["token_endpoint"] == f"{base}/oauth2/token"
    assert first["issuer"] == f"https://sts.windows.net/{client.tenant_id}/"
    instances = client.fetch(f"{client.tenant.url}/common/discovery/instance?api-version=1.1", {}).json()
    assert "login.windows.net" in instances["metadata"][0]["aliases"]


def _msal(tenant: MockTenant, credential: Any) -> dict[str, Any]:
    app = msal.ConfidentialClientApplication(
        tenant.client_id,
        client_credential=credential,
        authority=f"{tenant.url}/{tenant.tenant_id}",
        instance_discovery=False,
        verify=tenant.ca_path,
    )
    found: dict[str, Any] = app.acquire_token_for_client(scopes=[GRAPH])
    return found


def test_msal_gets_tokens_with_every_kind_of_credential(shared: MockTenant) -> None:
    pem = Path(shared.client_certificate_path).read_text()
    credentials: list[Any] = [
        shared.client_secret,
        {"private_key": pem, "public_certificate": pem},
        {
            "private_key_pfx_path": shared.client_certificate_pfx_path,
            "passphrase": shared.client_certificate_password,
            "public_certificate": True,
        },
        {"client_assertion": lambda: Path(shared.federated_token_file).read_text()},
    ]
    for credential in credentials:
        assert "access_token" in _msal(shared, credential)


def test_msal_and_an_unknown_tenant(shared: MockTenant) -> None:
    with pytest.raises(ValueError, match="tenant"):
        msal.ConfidentialClientApplication(
            "x",
            client_credential="y",
            authority=f"{shared.url}/nobody.example",
            instance_discovery=False,
            verify=shared.ca_path,
        )


# --- what does not ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "form"),
    [
        (7000215, {"client_secret": "wrong"}),
        (7000222, {"client_secret": "old"}),
        (7000218, {"client_secret": ""}),
        (700016, {"client_id": "00000000-0000-0000-0000-000000000000"}),
        (900144, {"client_id": ""}),
        (900144, {"grant_type": ""}),
        (70003, {"grant_type": "password"}),
        (900144, {"scope": ""}),
        (901002, {"resource": "https://graph.microsoft.com"}),
        (70011, {"scope": "nonsense"}),
        (1002012, {"scope": "https://graph.microsoft.com/SecurityAlert.Read.All"}),
        (700022, {"scope": f"{GRAPH} https://api.securitycenter.microsoft.com/.default"}),
        (500011, {"scope": "https://nothing.example/.default"}),
        (500011, {"scope": "https://api.securitycenter.microsoft.com/.default"}),
    ],
)
def test_refusals(client: Client, code: int, form: dict[str, str]) -> None:
    body = aadsts(client.ask_token(**form), code)
    assert body["error"] == ERRORS[code][1]


def test_the_secrets_id_in_place_of_its_value(client: Client) -> None:
    body = aadsts(client.ask_token(client_secret=client.tenant.client_secret_id), 7000215)
    assert "not the client secret ID" in body["error_description"]


def test_tenants_that_are_not_there(client: Client) -> None:
    assert "'nobody.example' not found" in aadsts(client.ask_token("nobody.example"), 90002)["error_description"]
    aadsts(client.ask_token("fabrikam.example"), 90038)
    aadsts(client.ask_token("common"), 9001023)
    body = aadsts(client.fetch(f"{client.tenant.url}/nobody.example/v2.0/.well-known/openid-configuration", {}), 90002)
    assert body["error"] == "invalid_tenant"


def test_one_app_registration_serves_several_tenants(client: Client) -> None:
    first, second, third = (entry["tenant_id"] for entry in client.tenant.tenants)
    token = client.ask_token(second).json()["access_token"]
    assert claims_of(token)["tid"] == second
    own, other = Client(client.tenant), Client(client.tenant, second)
    assert {row["tenantId"] for row in rows(own.get("graph_alerts"))} == {first}
    assert {row["tenantId"] for row in rows(other.get("graph_alerts"))} == {second}
    assert not set(own.ids("graph_alerts")) & set(other.ids("graph_alerts"))
    assert other.ids("graph_alerts") == [entry[0] for entry in client.tenant.alerts(tenant=second)][::-1]
    aadsts(client.ask_token(third), 700016)
    aadsts(client.ask_token("customer2.example"), 700016)


def test_a_disabled_app(tenant: MockTenant) -> None:
    tenant.configure(app_disabled=True)
    aadsts(Client(tenant).ask_token(), 7000112)


# --- assertions -------------------------------------------------------------------------------------------------------


def _assertion(tenant: MockTenant, key: Any = None, header: Any = None, algorithm: str = "PS256", **claims: Any) -> str:
    pem = Path(tenant.client_certificate_path).read_bytes()
    # Of the two thumbprints the SHA-256 one is the longer.
    thumbprint = max(thumbprints(load_pem_x509_certificate(pem)), key=len)
    now = int(tenant.clock.seconds())
    known = {
        "aud": f"{tenant.url}/{tenant.tenant_id}/oauth2/v2.0/token",
        "iss": tenant.client_id,
        "sub": tenant.client_id,
        "jti": "1",
        "nbf": now,
        "exp": now + 600,
    }
    private: Any = key or load_pem_private_key(pem, None)
    return jwt.encode({**known, **claims}, private, algorithm=algorithm, headers=header or {"x5t#S256": thumbprint})


def _ask(tenant: MockTenant, assertion: str, **form: str) -> requests.Response:
    body = {"client_secret": "", "client_assertion": assertion, "client_assertion_type": ASSERTION_TYPE, **form}
    return Client(tenant).ask_token(**body)


def test_assertions_are_checked_for_real(shared: MockTenant) -> None:
    assert _ask(shared, _assertion(shared)).status_code == 200
    assert _ask(shared, _assertion(shared, algorithm="RS256")).status_code == 200
    now = int(time.time())
    aadsts(_ask(shared, _assertion(shared, key=rsa_key("another"))), 700027)
    aadsts(_ask(shared, _assertion(shared, header={"x5t": "AAAA"})), 700027)
    aadsts(_ask(shared, _assertion(shared, iss="someone")), 700021)
    aadsts(_ask(shared, _assertion(shared, aud="https://elsewhere.example")), 700023)
    late = aadsts(_ask(shared, _assertion(shared, nbf=now - 4000, exp=now - 3000)), 700024)
    assert "Current time: 20" in late["error_description"]
    aadsts(_ask(shared, _assertion(shared, nbf=now + 4000, exp=now + 5000)), 700024)
    aadsts(_ask(shared, _assertion(shared, exp="soon")), 50027)
    aadsts(_ask(shared, "a.b.c"), 50027)
    aadsts(_ask(shared, _assertion(shared), client_assertion_type="saml"), 900144)


def test_workload_identity_is_checked_for_real(shared: MockTenant) -> None:
    audience = ["api://AzureADTokenExchange"]
    genuine = Path(shared.federated_token_file).read_text()
    assert _ask(shared, genuine).status_code == 200
    issuer = claims_of(genuine)["iss"]
    stranger = _assertion(shared, aud=audience, iss=issuer, sub="system:serviceaccount:other")
    assert "system:serviceaccount:other" in aadsts(_ask(shared, stranger), 700213)["error_description"]
    forged = _assertion(shared, algorithm="RS256", aud=audience, iss=issuer, sub=claims_of(genuine)["sub"])
    aadsts(_ask(shared, forged), 50027)


def test_more_certificates_while_it_runs(tenant: MockTenant) -> None:
    with serve(alerts=0, seed=9) as other:
        pem = Path(other.client_certificate_path).read_text()
    certificate = load_pem_x509_certificate(pem.encode())
    header = {"x5t#S256": max(thumbprints(certificate), key=len)}
    key = load_pem_private_key(pem.encode(), None)
    assertion = _assertion(tenant, key=key, header=header)
    aadsts(_ask(tenant, assertion), 700027)
    tenant.configure(certificates=[pem])
    assert _ask(tenant, assertion).status_code == 200


# --- tokens at the APIs -----------------------------------------------------------------------------------------------


def test_a_token_lives_as_long_as_it_says(tenant: MockTenant) -> None:
    client = Client(tenant)
    tenant.configure(token_lifetime=60)
    body = client.ask_token().json()
    claims = claims_of(body["access_token"])
    assert (body["expires_in"], claims["exp"] - claims["nbf"]) == (60, 60)
    headers = {"Authorization": f"Bearer {body['access_token']}"}
    url = f"{tenant.url}/v1.0/security/alerts_v2?$top=1"
    assert client.fetch(url, headers).status_code == 200
    tenant.configure(clock_skew_seconds=59)
    assert client.fetch(url, headers).status_code == 200
    tenant.configure(clock_skew_seconds=61)
    error = error_of(client.fetch(url, headers), 401)
    assert (error["code"], error["message"]) == (
        "InvalidAuthenticationToken",
        "Lifetime validation failed, the token is expired.",
    )
    # As if it had been issued in the future: Microsoft forgives five minutes.
    tenant.configure(clock_skew_seconds=-290)
    assert client.fetch(url, headers).status_code == 200
    tenant.configure(clock_skew_seconds=-400)
    assert "not yet valid" in error_of(client.fetch(url, headers), 401)["message"]


@pytest.mark.parametrize("skew", [-7200, 7200])
def test_a_skewed_clock_is_the_same_everywhere(skew: int) -> None:
    with serve(alerts=5, clock_skew_seconds=skew) as tenant:
        client = Client(tenant)
        response = client.ask_token(version="", resource="https://graph.microsoft.com")
        claims = claims_of(response.json()["access_token"])
        assert abs(claims["nbf"] - time.time() - skew) < 5
        assert abs(int(response.json()["expires_on"]) - time.time() - skew - 3599) < 5
        answer = client.get("graph_alerts")
        assert answer.status_code == 200
        date = parsedate_to_datetime(answer.headers["Date"]).timestamp()
        assert abs(date - time.time() - skew) < 5
        newest = rows(answer)[0]["lastUpdateDateTime"]
        assert newest[:13] <= time.strftime("%Y-%m-%dT%H", time.gmtime(time.time() + skew))
        # A certificate's assertion with the machine's time is refused by a clock that is two hours off.
        stale = _assertion(tenant, nbf=int(time.time()), exp=int(time.time()) + 600)
        aadsts(_ask(tenant, stale), 700024)


def test_roles(tenant: MockTenant) -> None:
    client = Client(tenant)
    tenant.configure(roles={"graph": ["SecurityIncident.ReadWrite.All"], "mde": []})
    assert client.get("graph_incidents").status_code == 200
    error = error_of(client.get("graph_alerts"), 403)
    assert error["code"] == "Forbidden"
    assert "API required roles: SecurityAlert.Read.All,SecurityAlert.ReadWrite.All" in error["message"]
    assert error_of(client.get("mde_alerts"), 403)["code"] == "Forbidden"
    # A role that was not named keeps its default.
    assert tenant.config.roles["xdr"] == ["Incident.Read.All"]
    # A token without any role is given all the same.
    assert "roles" not in claims_of(tenant.token("mde"))


@pytest.mark.parametrize(
    ("api", "header", "text"),
    [
        ("graph_alerts", "", "Access token is empty."),
        ("graph_alerts", "Bearer nonsense", "JWT is not well formed"),
        ("graph_alerts", "Basic eDp5", "Access token is empty."),
        ("mde_alerts", "", "Missing authorization token."),
        ("mde_alerts", "Bearer nonsense", "The token is invalid."),
    ],
)
def test_no_token(client: Client, api: str, header: str, text: str) -> None:
    response = client.get(api, Authorization=header)
    error = error_of(response, 401)
    assert text in error["message"]
    if api == "graph_alerts":
        assert response.headers["WWW-Authenticate"].startswith("Bearer realm")
        assert set(error["innerError"]) == {"date", "request-id", "client-request-id"}
    else:
        assert error["target"] == response.headers["request-id"]


def test_the_exporter_refuses_in_its_own_way(client: Client) -> None:
    for token in ("nonsense", client.tenant.token("graph")):
        headers = {"Authorization": f"Bearer {token}", "Host": "wdatp-alertexporter-eu.windows.com"}
        response = client.get("alert_exporter", "ago=PT1H", **headers)
        assert response.status_code == 401
        assert "Message" in response.json()


def test_tokens_for_another_api_or_another_key(client: Client) -> None:
    tenant = client.tenant
    for api, kind in (("graph_alerts", "mde"), ("mde_alerts", "graph"), ("graph_alerts", "xdr")):
        error = error_of(client.get(api, Authorization=f"Bearer {tenant.token(kind)}"), 401)
        assert "nvalid audience" in error["message"]
    claims = claims_of(tenant.token())
    forged = jwt.encode(claims, rsa_key("another"), algorithm="RS256")
    assert "Invalid signature" in error_of(client.get("graph_alerts", Authorization=f"Bearer {forged}"), 401)["message"]
    unsigned = jwt.encode(claims, "", algorithm="none")
    assert client.get("graph_alerts", Authorization=f"Bearer {unsigned}").status_code == 401
    stranger = tenant.token(tenant_id="11111111-1111-1111-1111-111111111111")
    assert client.get("graph_alerts", Authorization=f"Bearer {stranger}").status_code == 401
