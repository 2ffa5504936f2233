# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys and certificates: a CA of its own, the server's certificate, the app registration's certificate."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .files import write_private

HOSTS = (
    "localhost",
    "login.microsoftonline.com",
    "login.microsoftonline.us",
    "login.windows.net",
    "graph.microsoft.com",
    "graph.microsoft.us",
    "dod-graph.microsoft.us",
    "*.securitycenter.microsoft.com",
    "*.securitycenter.microsoft.us",
    "*.securitycenter.windows.com",
    "*.securitycenter.windows.us",
    "*.gcc.securitycenter.windows.us",
    "*.security.microsoft.com",
    "*.api.security.microsoft.com",
    "*.security.microsoft.us",
    "*.windows.com",
)
PFX_PASSWORD = "mock pfx p\u00e4ssword"


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: str,
    issuer: str,
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
    validity: tuple[datetime, datetime] | None = None,
) -> x509.CertificateBuilder:
    now = datetime.now(timezone.utc)
    # A day early, so that clients whose clock is behind can still be tested for other things.
    begin, end = validity or (now - timedelta(days=1), now + timedelta(days=30))
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
    )


@lru_cache(maxsize=4)
def rsa_key(purpose: str) -> rsa.RSAPrivateKey:
    """One key a process and purpose: making them is the slowest part of the start."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def write_server_files(directory: Path) -> tuple[Path, dict[str, Path]]:
    """(CA certificate, for each value of the knob `server_certificate` a file with key and certificate)."""
    key = ec.generate_private_key(ec.SECP256R1())
    ca_path, ca_key = _write_ca(directory / "ca.pem", "mock tenant")
    names = [*_addresses(), *(x509.DNSName(host) for host in HOSTS)]
    now = datetime.now(timezone.utc)
    past = (now - timedelta(days=30), now - timedelta(days=1))
    certificates = {
        "good": _server_builder(key, ca_key, names).sign(ca_key, hashes.SHA256()),
        "expired": _server_builder(key, ca_key, names, past).sign(ca_key, hashes.SHA256()),
        "self_signed": _server_builder(key, key, names).sign(key, hashes.SHA256()),
        "wrong_name": _server_builder(key, ca_key, [x509.DNSName("wrong.example")]).sign(ca_key, hashes.SHA256()),
    }
    files = {
        kind: write_private(directory / f"server_{kind}.pem", _key_pem(key) + _pem(certificate))
        for kind, certificate in certificates.items()
    }
    return ca_path, files


@dataclass(frozen=True)
class CcpFiles:
    """Of the mock CCP: its CA, its own certificate with the key, and a client's."""

    ca_path: Path
    server: Path
    client_cert: Path
    client_key: Path


def write_ccp_files(directory: Path) -> CcpFiles:
    ca_path, ca_key = _write_ca(directory / "ccp_ca.pem", "mock CCP")
    key, client_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    names = [*_addresses(), x509.DNSName("localhost")]
    server = _server_builder(key, ca_key, names, subject="mock CCP").sign(ca_key, hashes.SHA256())
    client = (
        _builder("mock collector", "mock CCP CA", client_key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    client_path = directory / "ccp_client.pem"
    client_path.write_bytes(_pem(client))
    return CcpFiles(
        ca_path,
        write_private(directory / "ccp_server.pem", _key_pem(key) + _pem(server)),
        client_path,
        write_private(directory / "ccp_client.key", _key_pem(client_key)),
    )


def _write_ca(path: Path, name: str) -> tuple[Path, ec.EllipticCurvePrivateKey]:
    """The CA of `name`, and the key with which it signs."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder(f"{name} CA", f"{name} CA", key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_ca_usage(), critical=True)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(_pem(certificate))
    return path, key


def _addresses() -> list[x509.GeneralName]:
    return [x509.IPAddress(ipaddress.ip_address(text)) for text in ("127.0.0.1", "::1")]


def _server_builder(
    key: ec.EllipticCurvePrivateKey,
    issuer_key: ec.EllipticCurvePrivateKey,
    names: list[x509.GeneralName],
    validity: tuple[datetime, datetime] | None = None,
    subject: str = "mock tenant",
) -> x509.CertificateBuilder:
    return (
        _builder(subject, subject if issuer_key is key else f"{subject} CA", key, validity)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        # Python 3.13 and later refuse a certificate without it.
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )


def _ca_usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )


def write_client_files(directory: Path) -> tuple[Path, Path, x509.Certificate]:
    """The app registration's certificate: PEM with its key, PFX with a password."""
    key = rsa_key("client")
    certificate = _builder("mock collector", "mock collector", key).sign(key, hashes.SHA256())
    pem = write_private(directory / "client.pem", _key_pem(key) + _pem(certificate))
    bundle = pkcs12.serialize_key_and_certificates(
        b"mock collector", key, certificate, None, BestAvailableEncryption(PFX_PASSWORD.encode())
    )
    return pem, write_private(directory / "client.pfx", bundle), certificate
