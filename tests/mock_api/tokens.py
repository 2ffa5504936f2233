# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Access tokens: made, signed and checked."""

from __future__ import annotations

import base64
import uuid
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from .clock import Clock

_KEY_ID = "mock-signing-key"
# Signatures are left to PyJWT; times and audiences are checked by the mock's own clock and rules.
UNCHECKED: Any = {"verify_aud": False, "verify_exp": False, "verify_nbf": False, "verify_iat": False}

# What a resource is called -> which API it opens.
RESOURCES = {
    "https://graph.microsoft.com": "graph",
    "https://graph.microsoft.us": "graph",
    "https://dod-graph.microsoft.us": "graph",
    "00000003-0000-0000-c000-000000000000": "graph",
    "https://api.securitycenter.microsoft.com": "mde",
    "https://api.securitycenter.windows.com": "mde",
    "https://api-gcc.securitycenter.microsoft.us": "mde",
    "https://api-gov.securitycenter.microsoft.us": "mde",
    "https://api.securitycenter.microsoft.us": "mde",
    "https://securitycenter.onmicrosoft.com/windowsatpservice": "mde",
    "fc780465-2017-40d4-a0c5-307022471b92": "mde",
    "https://api.security.microsoft.com": "xdr",
    "https://api-gcc.security.microsoft.us": "xdr",
    "https://api-gov.security.microsoft.us": "xdr",
    "https://graph.windows.net": "exporter",
    "00000002-0000-0000-c000-000000000000": "exporter",
    "https://management.azure.com": "other",
    "https://management.core.windows.net": "other",
    "https://vault.azure.net": "other",
    "https://outlook.office365.com": "other",
}


def resource_kind(resource: str, more: dict[str, str] | None = None) -> str | None:
    return {**RESOURCES, **(more or {})}.get(resource.rstrip("/").lower())


class TokenError(Exception):
    """`kind`: missing, malformed, signature, expired, early, audience."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class Tokens:
    def __init__(self, key: RSAPrivateKey, clock: Clock) -> None:
        self._key = key
        self._public = key.public_key()
        self.clock = clock
        self._known: dict[str, dict[str, Any]] = {}

    def issue(
        self, audience: str, tenant_id: str, client_id: str, roles: list[str], lifetime: int, version: str
    ) -> str:
        now = int(self.clock.seconds())
        claims: dict[str, Any] = {
            "aud": audience,
            "iss": f"https://sts.windows.net/{tenant_id}/",
            "iat": now,
            "nbf": now,
            "exp": now + lifetime,
            "appid": client_id,
            "appidacr": "1",
            "idp": f"https://sts.windows.net/{tenant_id}/",
            "idtyp": "app",
            "oid": str(uuid.uuid5(uuid.NAMESPACE_OID, tenant_id + client_id)),
            "tid": tenant_id,
            "uti": uuid.uuid4().hex[:22],
            "ver": version,
        }
        if roles:
            claims["roles"] = roles
        return jwt.encode(claims, self._key, algorithm="RS256", headers={"kid": _KEY_ID, "x5t": _KEY_ID})

    def verify(self, token: str) -> dict[str, Any]:
        claims = self._known.get(token)
        if claims is None:
            claims = self._decode(token)
            # Tokens live for an hour; a long run must not collect them.
            if len(self._known) > 1000:
                self._known.clear()
            self._known[token] = claims
        now = self.clock.seconds()
        if claims["exp"] <= now:
            raise TokenError("expired")
        if claims["nbf"] > now + 300:
            raise TokenError("early")
        return claims

    def _decode(self, token: str) -> dict[str, Any]:
        try:
            return jwt.decode(token, self._public, algorithms=["RS256"], options=UNCHECKED)
        except jwt.InvalidSignatureError:
            raise TokenError("signature") from None
        except jwt.PyJWTError:
            raise TokenError("malformed") from None

    def public_keys(self) -> dict[str, Any]:
        numbers = self._public.public_numbers()
        return {
            "keys": [
                {
                    "kty": "RSA",
                    "use": "sig",
                    "kid": _KEY_ID,
                    "x5t": _KEY_ID,
                    "n": _base64(numbers.n),
                    "e": _base64(numbers.e),
                }
            ]
        }


def _base64(number: int) -> str:
    return base64.urlsafe_b64encode(number.to_bytes((number.bit_length() + 7) // 8, "big")).rstrip(b"=").decode()
