# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the searches for leaks share: a mock tenant whose secrets are canaries, and whose tokens are hunted for too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from canaries import (
    CERTIFICATE_PASSWORD,
    CLIENT_SECRET,
    ENVIRONMENT_SECRET,
    FILE_SECRET,
    PROXY_PASSWORD,
    STORED_SECRET,
    WRONG_SECRET,
    Hunt,
)
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
    pkcs12,
)
from mock_api import MockTenant, TenantConfig
from mock_api.assertions import Assertions
from mock_api.tokens import Tokens

SECRETS = {
    "client secret": CLIENT_SECRET,
    "environment's secret": ENVIRONMENT_SECRET,
    "secret in a file": FILE_SECRET,
    "stored secret": STORED_SECRET,
    "wrong secret": WRONG_SECRET,
    "certificate password": CERTIFICATE_PASSWORD,
    "proxy password": PROXY_PASSWORD,
}


@contextmanager
def spied(hunt: Hunt) -> Iterator[None]:
    """All tokens that mock tenants issue, and all assertions that they are shown, are hunted for from now on."""
    issue, check = Tokens.issue, Assertions.check

    def issued(self: Tokens, *args: Any, **named: Any) -> str:
        token = issue(self, *args, **named)
        hunt.add("access token", token)
        return token

    def checked(self: Assertions, assertion: str, *args: Any) -> None:
        hunt.add("assertion", assertion)
        check(self, assertion, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tokens, "issue", issued)
        patch.setattr(Assertions, "check", checked)
        yield


def config(**knobs: Any) -> TenantConfig:
    """A small tenant to which all right canaries are client secrets."""
    good = [ENVIRONMENT_SECRET, FILE_SECRET, STORED_SECRET]
    return TenantConfig(alerts=12, span="10h", client_secret=CLIENT_SECRET, secrets=good, **knobs)


def locked_certificates(tenant: MockTenant) -> tuple[bytes, bytes]:
    """The app registration's certificate with its key, as PFX and as PEM, both behind the canary's password."""
    pem = Path(tenant.client_certificate_path).read_bytes()
    key: Any = load_pem_private_key(pem, None)
    certificate, lock = x509.load_pem_x509_certificate(pem), BestAvailableEncryption(CERTIFICATE_PASSWORD.encode())
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock) + certificate.public_bytes(Encoding.PEM)
    return pkcs12.serialize_key_and_certificates(b"app", key, certificate, None, lock), locked
