# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Microsoft Entra ID: discovery, keys, and the token endpoints of versions 1 and 2."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from typing import Any
from urllib.parse import unquote_plus

from .aadsts import EntraError, error_response
from .assertions import ASSERTION_TYPE, Assertions
from .clock import Clock
from .config import TenantConfig
from .messages import Request, Response, json_response
from .tokens import Tokens, resource_kind

_ROUTES = (
    ("discovery", re.compile(r"/(?P<tenant>common)/discovery/(?P<version>instance)")),
    ("discovery", re.compile(r"/(?P<tenant>[^/]+)/(?P<version>v2\.0/)?\.well-known/openid-configuration")),
    ("discovery", re.compile(r"/(?P<tenant>[^/]+)/discovery/(?P<version>v2\.0/)?keys")),
    ("token", re.compile(r"/(?P<tenant>[^/]+)/oauth2/(?P<version>v2\.0/)?token")),
)
_DEFAULT = "/.default"


class Entra:
    """`tenants`: names (GUID and domain, in lower case) -> tenant id."""

    def __init__(
        self, config: TenantConfig, tenants: dict[str, str], tokens: Tokens, assertions: Assertions, clock: Clock
    ) -> None:
        self.config = config
        self.tenants = tenants
        self.tokens = tokens
        self.assertions = assertions
        self.clock = clock

    def handle(self, request: Request) -> Response | None:
        for leg, pattern in _ROUTES:
            match = pattern.fullmatch(request.path)
            if match:
                request.leg = leg
                try:
                    return self._answer(request, leg, match["tenant"], bool(match["version"]))
                except EntraError as error:
                    request.note["aadsts"] = error.code
                    return error_response(error, self.clock, request.header("client-request-id"))
        return None

    def leg_of(self, path: str) -> str | None:
        return next((leg for leg, pattern in _ROUTES if pattern.fullmatch(path)), None)

    def _answer(self, request: Request, leg: str, tenant: str, version_2: bool) -> Response:
        if leg == "token":
            if request.method != "POST":
                raise EntraError(900144, name="grant_type")
            return self._token(request, tenant, version_2)
        if request.path.endswith("/discovery/instance"):
            return json_response(_instances(request.base_url))
        if tenant.lower() in ("common", "organizations", "consumers"):
            tenant_id = "{tenantid}"
        else:
            tenant_id = self._tenant(tenant, on_discovery=True)
        if "openid-configuration" in request.path:
            return json_response(self._configuration(request.base_url, tenant, tenant_id, version_2))
        return json_response(self.tokens.public_keys())

    def _tenant(self, name: str, on_discovery: bool = False) -> str:
        if name.lower() in (item.lower() for item in self.config.foreign_tenants):
            raise EntraError(90038, tenant=name)
        found = self.tenants.get(name.lower())
        if found is None:
            raise EntraError(90002, tenant=name, **({"error": "invalid_tenant"} if on_discovery else {}))
        return found

    def _configuration(self, base: str, tenant: str, tenant_id: str, version_2: bool) -> dict[str, Any]:
        part = "v2.0/" if version_2 else ""
        issuer = f"{base}/{tenant_id}/v2.0" if version_2 else f"https://sts.windows.net/{tenant_id}/"
        return {
            "token_endpoint": f"{base}/{tenant}/oauth2/{part}token",
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
            "jwks_uri": f"{base}/{tenant}/discovery/{part}keys",
            "response_modes_supported": ["query", "fragment", "form_post"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
            "scopes_supported": ["openid", "profile", "email", "offline_access"],
            "issuer": issuer,
            "request_uri_parameter_supported": False,
            "userinfo_endpoint": "https://graph.microsoft.com/oidc/userinfo",
            "authorization_endpoint": f"{base}/{tenant}/oauth2/{part}authorize",
            "device_authorization_endpoint": f"{base}/{tenant}/oauth2/{part}devicecode",
            "http_logout_supported": True,
            "tenant_region_scope": "EU",
            "cloud_instance_name": "microsoftonline.com",
            "cloud_graph_host_name": "graph.windows.net",
            "msgraph_host": "graph.microsoft.com",
        }

    # --- the token endpoints ---------------------------------------------------------------------------------------

    def _token(self, request: Request, tenant: str, version_2: bool) -> Response:
        form = {**request.form(), **_basic(request.header("Authorization"))}
        request.note["form"] = {
            key: form[key] for key in ("grant_type", "client_id", "scope", "resource") if key in form
        }
        if tenant.lower() in ("common", "consumers", "organizations"):
            raise EntraError(9001023)
        tenant_id = self._tenant(tenant)
        request.tenant_id = tenant_id
        if not form.get("grant_type"):
            raise EntraError(900144, name="grant_type")
        if form["grant_type"] != "client_credentials":
            raise EntraError(70003, grant=form["grant_type"])
        self._check_client(form, tenant)
        audiences = {
            f"{base}/{name}{path}"
            for base in (request.base_url, "https://login.microsoftonline.com", "https://login.microsoftonline.us")
            for name in (tenant, tenant_id)
            for path in ("/oauth2/v2.0/token", "/oauth2/token", "/v2.0", "/", "")
        }
        self._check_credential(form, audiences)
        resource = self._resource_2(form) if version_2 else self._resource_1(form)
        kind = resource_kind(resource, self.config.resources)
        if kind is None or resource.rstrip("/") in self.config.missing_resources:
            raise EntraError(500011, resource=resource, directory=tenant)
        return self._grant(tenant_id, form["client_id"], resource, kind, version_2)

    def _check_client(self, form: dict[str, str], tenant: str) -> None:
        client_id = form.get("client_id")
        if not client_id:
            raise EntraError(900144, name="client_id")
        if client_id.lower() != self.config.client_id.lower():
            raise EntraError(700016, client=client_id, directory=tenant)
        names = {name.lower() for name, tenant_id in self.tenants.items() if tenant_id == self.tenants[tenant.lower()]}
        if names & {name.lower() for name in self.config.unconsented_tenants}:
            raise EntraError(700016, client=client_id, directory=tenant)
        if self.config.app_disabled:
            raise EntraError(7000112, client=client_id)

    def _check_credential(self, form: dict[str, str], audiences: set[str]) -> None:
        client_id = form["client_id"]
        if form.get("client_assertion"):
            if form.get("client_assertion_type") != ASSERTION_TYPE:
                raise EntraError(900144, name="client_assertion_type")
            self.assertions.check(form["client_assertion"], client_id, audiences)
            return
        secret = form.get("client_secret")
        if not secret:
            raise EntraError(7000218)
        if any(_same(secret, known) for known in self.config.all_secrets()):
            return
        if any(_same(secret, known) for known in self.config.expired_secrets):
            raise EntraError(7000222, client=client_id)
        raise EntraError(7000215, client=client_id)

    def _resource_1(self, form: dict[str, str]) -> str:
        if not form.get("resource"):
            raise EntraError(900144, name="resource")
        return form["resource"]

    def _resource_2(self, form: dict[str, str]) -> str:
        if "resource" in form:
            raise EntraError(901002)
        scopes = form.get("scope", "").split()
        if not scopes:
            raise EntraError(900144, name="scope")
        text = " ".join(scopes)
        if len({scope.rsplit("/", 1)[0] for scope in scopes}) > 1:
            raise EntraError(700022, scope=text)
        if not scopes[0].endswith(_DEFAULT):
            raise EntraError(1002012 if "/" in scopes[0] else 70011, scope=text)
        return scopes[0][: -len(_DEFAULT)]

    def _grant(self, tenant_id: str, client_id: str, resource: str, kind: str, version_2: bool) -> Response:
        lifetime = self.config.token_lifetime
        roles = self.config.roles.get(kind, [])
        token = self.tokens.issue(resource, tenant_id, client_id, roles, lifetime, "1.0")
        if version_2:
            body: dict[str, Any] = {"token_type": "Bearer", "expires_in": lifetime, "ext_expires_in": lifetime}
        else:
            now = int(self.clock.seconds())
            numbers = {
                "expires_in": lifetime,
                "ext_expires_in": lifetime,
                "expires_on": now + lifetime,
                "not_before": now,
            }
            body = {"token_type": "Bearer", **{key: str(value) for key, value in numbers.items()}, "resource": resource}
        return json_response({**body, "access_token": token}, Cache_Control="no-store, no-cache", Pragma="no-cache")


def _instances(base: str) -> dict[str, Any]:
    """Which hosts are the same authority; MSAL asks this of the central host, whatever its own authority is."""
    clouds = (
        (
            "login.microsoftonline.com",
            ["login.microsoftonline.com", "login.windows.net", "login.microsoft.com", "sts.windows.net"],
        ),
        ("login.microsoftonline.us", ["login.microsoftonline.us", "login.usgovcloudapi.net"]),
    )
    metadata = [
        {"preferred_network": name, "preferred_cache": aliases[1], "aliases": aliases} for name, aliases in clouds
    ]
    endpoint = f"{base}/common/.well-known/openid-configuration"
    return {"tenant_discovery_endpoint": endpoint, "api-version": "1.1", "metadata": metadata}


def _same(given: str, known: str) -> bool:
    return hmac.compare_digest(given.encode(), known.encode())


def _basic(header: str) -> dict[str, str]:
    """client_id and client_secret of HTTP Basic; both are form-encoded inside (RFC 6749, 2.3.1)."""
    scheme, _space, value = header.partition(" ")
    if scheme.lower() != "basic":
        return {}
    try:
        user, _colon, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return {}
    return {"client_id": unquote_plus(user), "client_secret": unquote_plus(password)}
