# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file with an app's certificate and private key: PEM or PFX. Read here, so that a bad one gets a good message."""

from __future__ import annotations

import re
from calendar import timegm
from dataclasses import dataclass, field
from typing import Any

from .errors import CredentialError, DependencyError
from .times import DAY, SECOND, format_time

_KEY = re.compile(rb"-----BEGIN ((?:[A-Z]+ )*PRIVATE KEY)-----.+?-----END \1-----", re.DOTALL)
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_LARGEST = 1 << 20
_WARN_DAYS = 28


@dataclass(frozen=True)
class ClientCertificate:
    """`key_pem` is not encrypted: it stays in memory. `end`: when it expires, in ticks."""

    key_pem: str = field(repr=False)
    certificate_pem: str
    end: int


def load(path: str, password: str | None, now: int) -> ClientCertificate:
    """The certificate and its key. `now` in ticks. CredentialError for a file that can't serve."""
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import rsa
    except ImportError:
        raise DependencyError("cryptography") from None
    content = _read(path)
    secret = password.encode("utf-8") if password else None
    key, certificates = (_load_pem if b"-----BEGIN " in content else _load_pfx)(path, content, secret)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise _error(path, "holds a key that is not RSA", "Microsoft Entra ID takes certificates with RSA keys only.")
    public = key.public_key().public_numbers()
    # A file may hold the chain as well.
    certificate = next((item for item in certificates if _numbers(item) == public), None)
    if certificate is None:
        raise _error(path, "holds a private key that does not belong to its certificate", _MAKE)
    _check_time(path, certificate, now)
    pem = serialization.Encoding.PEM
    key_pem = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return ClientCertificate(
        key_pem.decode("ascii"),
        certificate.public_bytes(pem).decode("ascii"),
        end_of(certificate),
    )


def expiry_words(path: str, end: int, now: int) -> str:
    """A warning about a certificate that expires within four weeks; empty before. `end`, `now`: ticks."""
    days = (end - now) // DAY
    if days >= _WARN_DAYS:
        return ""
    return (
        f"The certificate {path} expires on {format_time(end)[:10]}, in {days} days. Make a new one before that, and"
        " upload it in the Entra admin center, under App registrations > Certificates & secrets."
    )


def thumbprint(certificate_pem: str) -> str:
    """SHA-1, by which old versions of MSAL name a certificate. No signature depends on it."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    return x509.load_pem_x509_certificate(certificate_pem.encode("ascii")).fingerprint(hashes.SHA1()).hex()  # noqa: S303


_MAKE = "Put the certificate and its private key into one PEM file (key first or last), or use a PFX file."


def _error(path: str, what: str, remedy: str) -> CredentialError:
    return CredentialError(f"The certificate file {path} {what}.", remedy, code="credential.certificate")


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read(_LARGEST)
    except OSError as error:
        raise _error(
            path,
            f"can't be read: {error.strerror}",
            "Check client_certificate_path, on the host where this runs, and that the user who runs this may read it.",
        ) from error


def _load_pem(path: str, content: bytes, password: bytes | None) -> tuple[Any, list[Any]]:
    from cryptography import x509

    key, certificates = _KEY.search(content), _CERTIFICATE.findall(content)
    if key is None:
        raise _error(path, "holds no private key", _MAKE)
    if not certificates:
        raise _error(path, "holds no certificate", _MAKE)
    try:
        found = [x509.load_pem_x509_certificate(item) for item in certificates]
    except ValueError:
        raise _error(path, "holds a certificate that can't be read", _MAKE) from None
    return _load_key(path, key[0], password), found


def _load_key(path: str, pem: bytes, password: bytes | None) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    is_encrypted = b"ENCRYPTED" in pem
    if is_encrypted and not password:
        raise _error(path, "holds an encrypted key, and no password is given", "Set client_certificate_password.")
    try:
        return load_pem_private_key(pem, password if is_encrypted else None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        if is_encrypted:
            raise _wrong_password(path) from None
        raise _error(path, "holds a private key that can't be read", _MAKE) from None


def _load_pfx(path: str, content: bytes, password: bytes | None) -> tuple[Any, list[Any]]:
    from cryptography.hazmat.primitives.serialization import pkcs12

    # PKCS #12 is one DER sequence (RFC 7292, appendix D).
    if content[:1] != b"\x30":
        raise _error(path, "is neither PEM nor PFX", _MAKE)
    try:
        key, certificate, others = pkcs12.load_key_and_certificates(content, password)
    except ValueError as error:
        # The library has one exception for everything; only its text tells a wrong password apart.
        if "password" in str(error).lower():
            raise _wrong_password(path) from None
        raise _error(path, "is neither PEM nor PFX", _MAKE) from None
    if key is None or certificate is None:
        raise _error(path, f"holds no {'certificate' if key else 'private key'}", "Export it with its private key.")
    return key, [certificate, *others]


def _wrong_password(path: str) -> CredentialError:
    return _error(
        path,
        "can't be opened: the password is wrong or missing",
        "Set client_certificate_password to the password with which the file was exported.",
    )


def _numbers(certificate: Any) -> Any:
    numbers = getattr(certificate.public_key(), "public_numbers", None)
    return numbers() if numbers else None


def _check_time(path: str, certificate: Any, now: int) -> None:
    begin, end = _ticks(certificate, "not_valid_before"), end_of(certificate)
    if now > end:
        raise _error(
            path,
            f"expired on {format_time(end)[:10]}",
            "Make a new one and upload it in the Entra admin center, under App registrations > Certificates & secrets.",
        )
    if now < begin:
        raise _error(
            path,
            f"is valid only from {format_time(begin)[:19]}Z on",
            "Check this host's clock, or wait until then.",
        )


def end_of(certificate: Any) -> int:
    """When a certificate ends, in ticks."""
    return _ticks(certificate, "not_valid_after")


def names_of(certificate: Any) -> list[str]:
    """The host names and addresses that a server's certificate is for."""
    from cryptography import x509

    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return []
    return [str(name.value) for name in extension.value]


def _ticks(certificate: Any, name: str) -> int:
    """A time of a certificate. The name with _utc came with cryptography 42, the other one is on its way out."""
    moment = getattr(certificate, f"{name}_utc", None) or getattr(certificate, name)
    return timegm(moment.timetuple()) * SECOND
