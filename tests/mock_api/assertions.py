# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signed assertions in place of a secret: by the app's certificate, or by a workload's own token."""

from __future__ import annotations

import base64
import hashlib
import time
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding

from .aadsts import EntraError
from .clock import Clock, time_text
from .tokens import UNCHECKED

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
EXCHANGE_AUDIENCE = "api://AzureADTokenExchange"
_UNVERIFIED: Any = {**UNCHECKED, "verify_signature": False}


@dataclass(frozen=True)
class Workload:
    """A federated credential: whose tokens stand for the app."""

    issuer: str
    subject: str
    key: RSAPrivateKey

    def token(self, lifetime: int = 86400) -> str:
        # A real one is renewed every hour; the mock writes it once, and may run for longer.
        now = int(time.time())
        claims = {"iss": self.issuer, "sub": self.subject, "aud": [EXCHANGE_AUDIENCE], "iat": now, "nbf": now}
        return jwt.encode({**claims, "exp": now + lifetime}, self.key, algorithm="RS256", headers={"kid": "workload"})


def thumbprints(certificate: x509.Certificate) -> set[str]:
    """x5t and x5t#S256 as they stand in a JWT's header."""
    der = certificate.public_bytes(Encoding.DER)
    digests = (hashlib.sha1(der, usedforsecurity=False).digest(), hashlib.sha256(der).digest())
    return {base64.urlsafe_b64encode(digest).rstrip(b"=").decode() for digest in digests}


class Assertions:
    def __init__(self, certificates: list[x509.Certificate], workload: Workload, clock: Clock) -> None:
        self.workload = workload
        self.clock = clock
        self._keys: dict[str, RSAPublicKey] = {}
        for certificate in certificates:
            key = certificate.public_key()
            if not isinstance(key, RSAPublicKey):
                raise ValueError("Entra ID takes certificates with RSA keys only")
            self._keys.update(dict.fromkeys(thumbprints(certificate), key))

    def check(self, assertion: str, client_id: str, audiences: set[str]) -> None:
        """EntraError where the assertion does not prove the app's identity."""
        try:
            header = jwt.get_unverified_header(assertion)
            claims = jwt.decode(assertion, options=_UNVERIFIED)
        except jwt.PyJWTError:
            raise EntraError(50027) from None
        if claims.get("iss") == self.workload.issuer or claims.get("aud") in (EXCHANGE_AUDIENCE, [EXCHANGE_AUDIENCE]):
            self._check_workload(assertion, claims)
        else:
            self._check_certificate(assertion, header, claims, client_id, audiences)
        self._check_time(claims)

    def _check_workload(self, assertion: str, claims: dict[str, Any]) -> None:
        subject = str(claims.get("sub"))
        known = (claims.get("iss"), subject) == (self.workload.issuer, self.workload.subject)
        if not known or claims.get("aud") not in (EXCHANGE_AUDIENCE, [EXCHANGE_AUDIENCE]):
            raise EntraError(700213, subject=subject)
        try:
            jwt.decode(assertion, self.workload.key.public_key(), algorithms=["RS256"], options=UNCHECKED)
        except jwt.PyJWTError:
            raise EntraError(50027) from None

    def _check_certificate(
        self, assertion: str, header: dict[str, Any], claims: dict[str, Any], client_id: str, audiences: set[str]
    ) -> None:
        thumbprint = str(header.get("x5t#S256") or header.get("x5t") or header.get("kid") or "").rstrip("=")
        key = self._keys.get(thumbprint)
        if key is None:
            raise EntraError(
                700027, client=client_id, reason=f"The key was not found., Thumbprint of key: '{thumbprint}'"
            )
        try:
            jwt.decode(assertion, key, algorithms=["PS256", "RS256"], options=UNCHECKED)
        except jwt.PyJWTError:
            raise EntraError(
                700027, client=client_id, reason="The key used is expired or its signature is wrong."
            ) from None
        if claims.get("iss") != client_id or claims.get("sub") != client_id:
            raise EntraError(700021)
        given = claims.get("aud")
        if not audiences & set(given if isinstance(given, list) else [given]):
            raise EntraError(700023)

    def _check_time(self, claims: dict[str, Any]) -> None:
        now = self.clock.seconds()
        begin, end = claims.get("nbf", 0), claims.get("exp", 0)
        if not isinstance(begin, (int, float)) or not isinstance(end, (int, float)):
            raise EntraError(50027)
        # Entra ID forgives five minutes.
        if not begin - 300 <= now < end + 300:
            texts = {"now": now, "nbf": begin, "exp": end}
            raise EntraError(700024, **{name: time_text(int(value) * 10**7) for name, value in texts.items()})
