# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tokens: every method against the mock tenant, the cache, and that nothing secret is shown anywhere."""

from __future__ import annotations

import base64
import http.server
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp import auth as auth_module
from ansible_collections.secops.defender.plugins.module_utils._wdatp.auth import (
    Authenticator,
    Token,
    claims_of,
    plain_claims,
)
from ansible_collections.secops.defender.plugins.module_utils._wdatp.certificates import expiry_words
from ansible_collections.secops.defender.plugins.module_utils._wdatp.config import Connection
from ansible_collections.secops.defender.plugins.module_utils._wdatp.errors import (
    AuthError,
    CredentialError,
    DependencyError,
    TransportError,
    WdatpError,
)
from ansible_collections.secops.defender.plugins.module_utils._wdatp.redact import MASK, Redactor, forms_of
from ansible_collections.secops.defender.plugins.module_utils._wdatp.runtime import Runtime
from ansible_collections.secops.defender.plugins.module_utils._wdatp.times import DAY
from ansible_collections.secops.defender.plugins.module_utils._wdatp.transport import Transport
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID
from mock_api import MockTenant

Connect = Callable[..., Connection]
GRAPH_ROLES = ("SecurityAlert.Read.All", "SecurityIncident.Read.All")


def authenticator(
    connection: Connection, redactor: Redactor | None = None, runtime: Runtime | None = None
) -> Authenticator:
    transport = Transport(connection.http, sleep=lambda seconds: None)
    return Authenticator(connection, transport, redactor or Redactor(), runtime)


def legs(tenant: MockTenant) -> list[str]:
    return [entry["leg"] for entry in tenant.requests]


# --- the methods -----------------------------------------------------------------------------------------------------


def methods(tenant: MockTenant) -> dict[str, dict[str, Any]]:
    pfx, password = tenant.client_certificate_pfx_path, tenant.client_certificate_password
    return {
        "secret": {},
        "pem": {"client_secret": None, "client_certificate_path": tenant.client_certificate_path},
        "pfx": {"client_secret": None, "client_certificate_path": pfx, "client_certificate_password": password},
        "workload": {"client_secret": None, "federated_token_file": tenant.federated_token_file},
    }


@pytest.mark.parametrize("method", ["secret", "pem", "pfx", "workload"])
@pytest.mark.parametrize(
    ("api", "roles"), [("graph_alerts", GRAPH_ROLES), ("mde_alerts", ("Alert.Read.All",)), ("alert_exporter", ())]
)
def test_every_method_gets_a_token_for_every_api(
    tenant: MockTenant, connection_to: Connect, method: str, api: str, roles: tuple[str, ...]
) -> None:
    connection = connection_to(api=api, **methods(tenant)[method])
    redactor = Redactor()
    token = authenticator(connection, redactor).token()
    assert token.roles == roles
    assert token.lifetime == 3599
    assert 3590 < token.expires_at - time.monotonic() <= 3599
    assert not token.is_opaque
    claims = tenant.tokens.verify(token.access_token)
    assert claims["aud"] + "/.default" == connection.target.scope
    # What was sent and what came is known to the redactor, and shows in no representation.
    assert redactor.text(f"x {token.access_token} y") == f"x {MASK} y"
    assert token.access_token not in repr(token)
    # One request: where the token endpoint is need not be asked.
    assert legs(tenant) == ["token"]


def test_the_domain_name_of_a_tenant_will_do(tenant: MockTenant, connection_to: Connect) -> None:
    token = authenticator(connection_to(tenant_id="contoso.example")).token()
    assert tenant.tokens.verify(token.access_token)["tid"] == tenant.tenant_id


def test_the_workloads_token_is_read_each_time(tenant: MockTenant, connection_to: Connect, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("nonsense", encoding="ascii")
    one = authenticator(connection_to(client_secret=None, federated_token_file=str(path)))
    with pytest.raises(AuthError):
        one.token()
    path.write_bytes(Path(tenant.federated_token_file).read_bytes())
    assert one.token().roles == GRAPH_ROLES
    path.unlink()
    with pytest.raises(CredentialError, match=str(path)):
        one.renew()


class _Metadata(http.server.BaseHTTPRequestHandler):
    """What App Service offers in place of the metadata address."""

    answers: list[tuple[int, Any]]
    asked: list[tuple[str, str]]

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers["X-IDENTITY-HEADER"]))
        status, body = self.answers.pop(0)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@pytest.fixture
def metadata(clean_environment: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Metadata]]:
    import msal

    if not hasattr(msal, "ManagedIdentityClient"):
        pytest.skip("this msal knows no managed identities")
    _Metadata.answers, _Metadata.asked = [], []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Metadata) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}/token")
        monkeypatch.setenv("IDENTITY_HEADER", "local-secret")
        # Nothing of this may go through a proxy.
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        yield _Metadata
        server.shutdown()


@pytest.mark.parametrize("client_id", [None, "6d5c4b3a-2f1e-4d0c-8b9a-7f6e5d4c3b2a"])
def test_managed_identity(
    tenant: MockTenant, connection_to: Connect, metadata: type[_Metadata], client_id: str | None
) -> None:
    expires = int(time.time()) + 7200
    metadata.answers.append((200, {"access_token": tenant.token(), "expires_on": str(expires), "resource": "x"}))
    one = authenticator(connection_to(auth_method="managed_identity", client_id=client_id, client_secret=None))
    token = one.token()
    assert token.roles == GRAPH_ROLES
    assert 7100 < token.lifetime <= 7200
    path, header = metadata.asked[0]
    assert "resource=https%3A%2F%2Fgraph.microsoft.com&" in path + "&"
    assert header == "local-secret"
    assert (f"client_id={client_id}" in path) == bool(client_id)
    assert tenant.requests == []


def test_managed_identity_needs_a_newer_msal(connection_to: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    import msal

    monkeypatch.delattr(msal, "ManagedIdentityClient", raising=False)
    with pytest.raises(AuthError) as caught:
        authenticator(connection_to(auth_method="managed_identity", client_secret=None)).token()
    assert caught.value.code == "auth.msal_too_old"
    assert "msal 1.29 or later" in caught.value.remedy


@pytest.mark.parametrize(
    "answer", [(400, {"statusCode": 400, "message": "No User Assigned Identity"}), (500, b"<html>oops")]
)
def test_managed_identity_that_is_none(
    connection_to: Connect, metadata: type[_Metadata], answer: tuple[int, Any]
) -> None:
    metadata.answers.append(answer)
    with pytest.raises(AuthError) as caught:
        authenticator(connection_to(auth_method="managed_identity", client_secret=None)).token()
    assert caught.value.code == "auth.managed_identity"
    assert "managed identity is assigned" in caught.value.remedy
    assert "local-secret" not in str(caught.value)


def test_managed_identity_outside_of_azure(
    connection_to: Connect, metadata: type[_Metadata], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDENTITY_ENDPOINT", "http://127.0.0.1:1/token")
    with pytest.raises(AuthError, match="nothing answers at the metadata address"):
        authenticator(connection_to(auth_method="managed_identity", client_secret=None)).token()


# --- the cache -------------------------------------------------------------------------------------------------------


def test_a_token_is_kept_until_five_minutes_before_its_end(
    tenant: MockTenant, connection_to: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = authenticator(connection_to())
    now = time.monotonic()
    first = one.token()
    assert one.token() is first
    monkeypatch.setattr(auth_module.time, "monotonic", lambda: now + 3599 - 302)
    assert one.token() is first
    monkeypatch.setattr(auth_module.time, "monotonic", lambda: now + 3599 - 298)
    second = one.token()
    assert second is not first
    assert legs(tenant).count("token") == 2


def test_a_short_lived_token_is_not_asked_for_each_time(tenant: MockTenant, connection_to: Connect) -> None:
    tenant.configure(token_lifetime=120)
    one = authenticator(connection_to())
    assert one.token() is one.token()
    assert legs(tenant).count("token") == 1


def test_renewing_gets_another_one(tenant: MockTenant, connection_to: Connect) -> None:
    one = authenticator(connection_to())
    first = one.token()
    second = one.renew()
    assert second.access_token != first.access_token
    assert one.token() is second
    assert legs(tenant).count("token") == 2


def test_a_repaired_secret_counts_at_once(tenant: MockTenant, connection_to: Connect) -> None:
    """MSAL by itself would replay a refusal for a minute, also where we ask all the same."""
    connection = connection_to(client_secret="new-secret-value-1")
    one = authenticator(connection, runtime=Runtime(insists=True))
    for _attempt in range(2):
        with pytest.raises(AuthError):
            one.token()
    assert legs(tenant).count("token") == 2
    tenant.configure(secrets=["new-secret-value-1"])
    assert one.token().roles == GRAPH_ROLES


def test_a_repaired_app_counts_at_once(tenant: MockTenant, connection_to: Connect) -> None:
    """The same with status 400, which MSAL replays for longer."""
    tenant.configure(app_disabled=True)
    one = authenticator(connection_to(), runtime=Runtime(insists=True))
    with pytest.raises(AuthError) as caught:
        one.token()
    assert caught.value.code == "auth.app_disabled"
    tenant.configure(app_disabled=False)
    assert one.token().roles == GRAPH_ROLES


def test_claims_are_handed_on(tenant: MockTenant, connection_to: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    real = Transport.request

    def spy(self: Transport, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        sent.append(kwargs.get("data"))
        return real(self, method, url, *args, **kwargs)

    monkeypatch.setattr(Transport, "request", spy)
    claims = '{"access_token":{"nbf":{"essential":true,"value":"1604106651"}}}'
    one = authenticator(connection_to())
    one.renew(base64.b64encode(claims.encode()).decode())
    assert json.loads(sent[-1]["claims"]) == json.loads(claims)
    one.renew("?nonsense?")
    assert "claims" not in sent[-1]


@pytest.mark.parametrize("lifetime", ["3599", 3599])
def test_lifetimes_come_in_several_forms(tenant: MockTenant, connection_to: Connect, lifetime: Any) -> None:
    tenant.set_faults([{"match": {"leg": "token"}, "do": {"body": {"access_token": "opaque", "expires_in": lifetime}}}])
    token = authenticator(connection_to()).token()
    assert (token.lifetime, token.roles, token.is_opaque) == (3599, (), True)


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("knobs", "options", "code", "aadsts"),
    [
        ({}, {"client_secret": "not-the-secret-1"}, "auth.invalid_secret", 7000215),
        (
            {"expired_secrets": ["an-old-secret-1"]},
            {"client_secret": "an-old-secret-1"},
            "auth.expired_secret",
            7000222,
        ),
        ({}, {"tenant_id": "00000000-1111-2222-3333-444444444444"}, "auth.unknown_tenant", 90002),
        ({}, {"tenant_id": "nowhere.example"}, "auth.unknown_tenant", 90002),
        ({"foreign_tenants": ["gov.example"]}, {"tenant_id": "gov.example"}, "auth.wrong_cloud", 90038),
        ({}, {"client_id": "00000000-1111-2222-3333-444444444444"}, "auth.unknown_app", 700016),
        ({"unconsented_tenants": ["contoso.example"]}, {}, "auth.unknown_app", 700016),
        ({"missing_resources": ["https://graph.microsoft.com"]}, {}, "auth.unknown_resource", 500011),
        ({}, {"scope": "nonsense"}, "auth.invalid_scope", 70011),
        ({}, {"scope": "https://graph.microsoft.com/Alert.Read"}, "auth.invalid_scope", 1002012),
    ],
)
def test_what_entra_id_refuses(
    tenant: MockTenant,
    connection_to: Connect,
    knobs: dict[str, Any],
    options: dict[str, Any],
    code: str,
    aadsts: int,
) -> None:
    tenant.configure(**knobs)
    connection = connection_to(**options)
    with pytest.raises(AuthError) as caught:
        authenticator(connection).token()
    error = caught.value
    assert (error.code, error.aadsts) == (code, aadsts)
    assert f"AADSTS{aadsts}" in error.message
    assert connection.identity.tenant_id in error.message
    assert tenant.url[8:] in error.message
    assert error.remedy
    for form in forms_of(options.get("client_secret", tenant.client_secret)):
        assert form not in str(error)


def test_the_secrets_id_in_place_of_its_value(tenant: MockTenant, connection_to: Connect) -> None:
    with pytest.raises(AuthError) as caught:
        authenticator(connection_to(client_secret=tenant.client_secret_id)).token()
    assert (caught.value.code, caught.value.aadsts) == ("auth.secret_id", 7000215)
    assert "looks like a secret's ID" in caught.value.message
    assert "column Value" in caught.value.remedy
    assert tenant.client_secret_id not in str(caught.value)


def test_a_certificate_that_is_not_registered(tenant: MockTenant, connection_to: Connect, tmp_path: Path) -> None:
    path = write_pem(tmp_path)
    with pytest.raises(AuthError) as caught:
        authenticator(connection_to(client_secret=None, client_certificate_path=str(path))).token()
    assert (caught.value.code, caught.value.aadsts) == ("auth.invalid_certificate", 700027)
    assert str(path) in caught.value.message


def test_a_clock_that_is_off(tenant: MockTenant, connection_to: Connect) -> None:
    tenant.configure(clock_skew_seconds=1000)
    options = methods(tenant)["pem"]
    with pytest.raises(AuthError) as caught:
        authenticator(connection_to(**options)).token()
    assert (caught.value.code, caught.value.aadsts) == ("auth.clock", 700024)
    assert "clock" in caught.value.remedy


def test_a_passing_fault_is_tried_again(tenant: MockTenant, connection_to: Connect) -> None:
    tenant.set_faults([{"match": {"leg": "token", "times": 2}, "do": {"aadsts": 90033}}])
    assert authenticator(connection_to()).token().roles == GRAPH_ROLES
    assert legs(tenant).count("token") == 3


@pytest.mark.parametrize(
    "do",
    [
        {"html_200": True},
        {"status": 403, "body": "<html>Access denied by policy"},
        {"status": 302, "body": "", "headers": {"Location": "https://login.example/"}},
        {"status": 404, "body": {"message": "no such thing"}},
        {"body": "[]"},
        {"body": "{"},
    ],
)
def test_what_does_not_come_from_entra_id(
    tenant: MockTenant, connection_to: Connect, do: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    tenant.set_faults([{"match": {"leg": "token"}, "do": do}])
    with pytest.raises(TransportError) as caught:
        authenticator(connection_to()).token()
    assert caught.value.code == "network.not_entra"
    assert tenant.url[8:] in caught.value.message
    if "html" in str(do):
        assert "<" in caught.value.message
    # MSAL would log the body to stderr.
    assert capfd.readouterr().err == ""


def test_a_good_answer_without_a_token(tenant: MockTenant, connection_to: Connect) -> None:
    tenant.set_faults([{"match": {"leg": "token"}, "do": {"body": {"token_type": "Bearer"}}}])
    with pytest.raises(AuthError):
        authenticator(connection_to()).token()


def test_netrc_does_not_replace_the_secret(
    tenant: MockTenant, connection_to: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("default login somebody password else\n", encoding="ascii")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    assert authenticator(connection_to()).token().roles == GRAPH_ROLES


def test_the_ca_is_ours_for_msal_too(
    tenant: MockTenant, connection_to: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    import certifi

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certifi.where())
    assert authenticator(connection_to()).token().roles == GRAPH_ROLES
    with pytest.raises(TransportError) as caught:
        authenticator(connection_to(ca_path=None)).token()
    assert caught.value.code == "network.tls_untrusted"


def test_no_region_of_msal_leads_elsewhere(
    tenant: MockTenant, connection_to: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MSAL_FORCE_REGION", "westus")
    assert authenticator(connection_to()).token().roles == GRAPH_ROLES


# --- certificates ----------------------------------------------------------------------------------------------------


def make_certificate(
    key: Any, begin: timedelta = timedelta(days=-1), end: timedelta = timedelta(days=1), sign: Any = None
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "unit test")])
    now = datetime.now(timezone.utc)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now + begin).not_valid_after(now + end)
    return builder.sign(sign or key, hashes.SHA256())


@pytest.mark.parametrize(("days", "is_said"), [(400, False), (28, False), (27, True), (0, True)])
def test_certificate_that_ends_soon_is_warned_of(days: int, is_said: bool) -> None:
    now = 20_000 * DAY
    said = expiry_words("/etc/wdatp/contoso.pem", now + days * DAY, now)
    assert bool(said) == is_said
    assert not said or (f"in {days} days" in said and "/etc/wdatp/contoso.pem" in said)


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_pem(key: Any, password: bytes | None = None, traditional: bool = False) -> bytes:
    kind = serialization.PrivateFormat.TraditionalOpenSSL if traditional else serialization.PrivateFormat.PKCS8
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, kind, encryption)


def write_pem(directory: Path) -> Path:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    path = directory / "app.pem"
    path.write_bytes(key_pem(key) + pem(make_certificate(key)))
    return path


@pytest.mark.parametrize("traditional", [False, True])
@pytest.mark.parametrize("certificate_first", [False, True])
@pytest.mark.parametrize("password", [None, "pässword"])
def test_pem_files_of_every_kind(
    tenant: MockTenant,
    connection_to: Connect,
    key: rsa.RSAPrivateKey,
    tmp_path: Path,
    traditional: bool,
    certificate_first: bool,
    password: str | None,
) -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    own = make_certificate(key)
    # The chain stands before the certificate itself.
    parts = [pem(make_certificate(other)) + pem(own), key_pem(key, password and password.encode(), traditional)]
    path = tmp_path / "app.pem"
    path.write_bytes(b"Bag Attributes: none\n" + b"\n".join(parts if certificate_first else parts[::-1]))
    tenant_certificates = [pem(own).decode()]
    with MockTenant(replace(tenant.config, certificates=tenant_certificates)) as own_tenant:
        connection = connection_to(
            client_secret=None,
            client_certificate_path=str(path),
            client_certificate_password=password,
            authority_url=own_tenant.url,
            ca_path=own_tenant.ca_path,
        )
        assert authenticator(connection).token().roles == GRAPH_ROLES


def files(key: rsa.RSAPrivateKey, directory: Path) -> dict[str, bytes]:
    own = make_certificate(key)
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    curve = ec.generate_private_key(ec.SECP256R1())
    day = timedelta(days=1)
    encryption = serialization.BestAvailableEncryption(b"right")
    return {
        "empty": b"",
        "text": b"hello",
        "binary": bytes(range(256)),
        "der": own.public_bytes(serialization.Encoding.DER),
        "no key": pem(own),
        "no certificate": key_pem(key),
        "another key": key_pem(other) + pem(own),
        "curve": key_pem(curve) + pem(make_certificate(curve)),
        "broken key": b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n" + pem(own),
        "broken certificate": key_pem(key) + b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "expired": key_pem(key) + pem(make_certificate(key, -9 * day, -2 * day)),
        "future": key_pem(key) + pem(make_certificate(key, 2 * day, 9 * day)),
        "encrypted": key_pem(key, b"right") + pem(own),
        "pfx": pkcs12.serialize_key_and_certificates(b"x", key, own, None, encryption),
        "pfx without key": pkcs12.serialize_key_and_certificates(b"x", None, own, None, encryption),
    }


@pytest.mark.parametrize(
    ("kind", "password", "words"),
    [
        ("empty", None, "neither PEM nor PFX"),
        ("text", None, "neither PEM nor PFX"),
        ("binary", None, "neither PEM nor PFX"),
        ("der", None, "neither PEM nor PFX"),
        ("no key", None, "no private key"),
        ("no certificate", None, "no certificate"),
        ("another key", None, "does not belong to its certificate"),
        ("curve", None, "not RSA"),
        ("broken key", None, "private key that can't be read"),
        ("broken certificate", None, "certificate that can't be read"),
        ("expired", None, "expired on 20"),
        ("future", None, "is valid only from 20"),
        ("encrypted", None, "no password is given"),
        ("encrypted", "wrong pass", "the password is wrong"),
        ("pfx", None, "the password is wrong or missing"),
        ("pfx", "wrong pass", "the password is wrong or missing"),
        ("pfx without key", "right", "no private key"),
    ],
)
def test_certificate_files_that_cannot_serve(
    tenant: MockTenant,
    connection_to: Connect,
    key: rsa.RSAPrivateKey,
    tmp_path: Path,
    kind: str,
    password: str | None,
    words: str,
) -> None:
    path = tmp_path / "app.pem"
    path.write_bytes(files(key, tmp_path)[kind])
    options = {"client_certificate_path": str(path), "client_certificate_password": password}
    with pytest.raises(CredentialError) as caught:
        authenticator(connection_to(client_secret=None, **options)).token()
    assert caught.value.code == "credential.certificate"
    assert f"The certificate file {path} " in caught.value.message
    assert words in caught.value.message
    assert caught.value.remedy
    assert "wrong pass" not in str(caught.value)
    assert tenant.requests == []


def test_a_certificate_file_that_is_missing(connection_to: Connect, tmp_path: Path) -> None:
    path = tmp_path / "gone.pem"
    with pytest.raises(CredentialError) as caught:
        authenticator(connection_to(client_secret=None, client_certificate_path=str(path))).token()
    assert str(path) in caught.value.message
    assert "No such file" in caught.value.message
    assert "client_certificate_path" in caught.value.remedy


def test_old_msal_gets_the_thumbprint(
    tenant: MockTenant, connection_to: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    import msal

    monkeypatch.setattr(msal, "__version__", "1.20.0")
    assert authenticator(connection_to(**methods(tenant)["pem"])).token().roles == GRAPH_ROLES


# --- imports and small parts -----------------------------------------------------------------------------------------


def test_nothing_heavy_is_imported_before_a_token_is_asked_for() -> None:
    code = (
        "import sys\n"
        f"sys.path[:0] = {sys.path!r}\n"
        "from ansible_collections.secops.defender.plugins.module_utils._wdatp import auth, client, connectivity\n"
        "heavy = {'msal', 'requests', 'urllib3', 'cryptography', 'jwt', 'sqlite3'} & set(sys.modules)\n"
        "print(*sorted(heavy))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")


@pytest.mark.parametrize("library", ["msal", "requests"])
def test_a_missing_library_is_named(connection_to: Connect, monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    one = authenticator(connection_to())
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(DependencyError) as caught:
        one.token()
    assert caught.value.library == library


def test_a_secret_that_is_missing(connection_to: Connect) -> None:
    connection = connection_to()
    connection = replace(connection, identity=replace(connection.identity, secret=None))
    with pytest.raises(CredentialError) as caught:
        authenticator(connection).token()
    assert caught.value.code == "credential.secret_missing"


def encoded(claims: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (None, None),
        ("", None),
        ('{"access_token": {"é": 1}}', '{"access_token": {"é": 1}}'),
        (encoded({"a": "\u00ff\u00fe?>"}), '{"a": "\\u00ff\\u00fe?>"}'),
        (base64.b64encode(b'{"a":1}').decode(), '{"a":1}'),
        ("eyJhIjox", None),
        ("[1]", None),
        (encoded([1]), None),
        ("!!", None),
        ("{broken", None),
        (base64.b64encode(b"\xff\xfe").decode(), None),
    ],
)
def test_claims_of_a_challenge(text: str | None, found: str | None) -> None:
    assert plain_claims(text) == found


@pytest.mark.parametrize(
    ("token", "claims"),
    [
        ("", None),
        ("opaque", None),
        ("a.b.c", None),
        (f"a.{encoded([1])}.c", None),
        (f"a.{encoded({'roles': ['A', 7]})}.c", {"roles": ["A", 7]}),
        (f"a.{'[' * 30000}.c", None),
    ],
)
def test_claims_of_a_token(token: str, claims: Any) -> None:
    assert claims_of(token) == claims


def test_roles_that_are_none(tenant: MockTenant, connection_to: Connect) -> None:
    for roles in ("text", {"a": 1}, None, [1, None]):
        token = f"a.{encoded({'roles': roles})}.c"
        tenant.set_faults([{"match": {"leg": "token"}, "do": {"body": {"access_token": token, "expires_in": 60}}}])
        found = authenticator(connection_to()).token()
        assert (found.roles, found.is_opaque) == ((), False)


def test_freshness() -> None:
    now = time.monotonic()
    assert Token("t", now + 310, 3600).is_fresh()
    assert not Token("t", now + 290, 3600).is_fresh()
    assert not Token("t", now - 1, 60).is_fresh()
    assert not Token("t", now, 0).is_fresh()


def test_all_errors_are_the_engines_own(tenant: MockTenant, connection_to: Connect) -> None:
    """Whatever the login host answers, and however it breaks, it is a WdatpError."""
    for do in (
        {"truncate": 10},
        {"reset": True},
        {"status": 500, "body": ""},
        {"body": "\ud83d\ude00"},
        {"bad_json": True},
    ):
        tenant.set_faults([{"match": {"leg": "token"}, "do": do}])
        with pytest.raises(WdatpError) as caught:
            authenticator(connection_to(retries=1)).token()
        assert caught.value.remedy
