# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The staged test: what works on the way from this host to the first alert, and what to change where it ends.

Quick and bounded, so that monitoring may run it: one retry, short time-outs, one alert.
"""

from __future__ import annotations

import http.client
import ipaddress
import os
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from .certificates import expiry_words
from .client import Client
from .config import Connection
from .errors import ApiError, AuthError, TransportError, WdatpError
from .faults import bad_ca_file, explain, proxy_name, proxy_unreachable
from .page import parse_page
from .redact import Redactor
from .runtime import Runtime
from .sources.base import Source
from .sources.registry import source_of
from .times import DAY, SECOND, format_time, now_ticks
from .transport import Transport, first_line, place, skew_words

STAGES = ("resolve", "connect", "tls", "clock", "token", "permissions", "query")
# Longer, and pulling would be no pleasure either.
_SOCKET_SECONDS = 10
_RETRIES = 1
# Entra ID forgives assertions so much (the mock tenant too); beyond, a certificate can't sign in.
_SKEW_SECONDS = 300
# What a failure means where the first hop is a proxy.
_NO_PROXY_THERE = tuple(f"network.{kind}" for kind in ("dns", "refused", "unreachable", "timeout", "failed"))
# Of the names in a certificate, so many are shown.
_NAMES = 3


@dataclass(frozen=True)
class Stage:
    name: str
    ok: bool
    ms: int
    detail: str
    remedy: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "ok": self.ok, "ms": self.ms, "detail": self.detail, "remedy": self.remedy}


@dataclass
class Report:
    """`error`: of the first failing stage, which is also the last one."""

    host: str
    api: str
    organization: str | None
    stages: list[Stage] = field(default_factory=list)
    token_roles: list[str] = field(default_factory=list)
    token_expires_in: int | None = None
    clock_skew_seconds: int | None = None
    # When what is signed in with expires (ticks), where that can be known.
    secret_ends: int | None = None
    secret_days_left: int | None = None
    error: WdatpError | None = None
    # The API is on its way out.
    warning: str = ""

    @property
    def reachable(self) -> bool:
        return self.error is None

    def to_dict(self) -> dict[str, Any]:
        return {
            "reachable": self.reachable,
            "stages": [stage.to_dict() for stage in self.stages],
            "token_roles": self.token_roles,
            "token_expires_in": self.token_expires_in,
            "clock_skew_seconds": self.clock_skew_seconds,
            "secret_expires": None if self.secret_ends is None else format_time(self.secret_ends),
            "secret_days_left": self.secret_days_left,
            "host": self.host,
            "api": self.api,
            "organization": self.organization,
        }


def test(
    connection: Connection,
    redactor: Redactor,
    notify: Callable[[str], None] = lambda text: None,
    runtime: Runtime | None = None,
) -> Report:
    """Run the stages until one fails. Raises nothing but bugs: an error is the report's.

    `runtime`: one that insists, as the test asks Entra ID whatever it has refused before.
    """
    options = replace(connection.http, retries=min(connection.http.retries, _RETRIES))
    connection = replace(connection, http=options)
    transport = Transport(options, notify, deadline=time.monotonic() + 2 * options.timeout)
    run = _Run(connection, transport, redactor, notify, runtime)
    try:
        for name in STAGES:
            if not run.stage(name):
                break
    finally:
        transport.close()
    return run.report


@dataclass(frozen=True)
class _Peer:
    """A host that has to be reached. `label`: what it is for."""

    label: str
    url: str
    proxy: str | None
    verify: bool | str

    @property
    def name(self) -> str:
        return urlsplit(self.url).netloc

    @property
    def address(self) -> tuple[str, int]:
        return _address(self.url)

    @property
    def first_hop(self) -> tuple[str, int]:
        """Where the connection really leads: to the proxy, where there is one."""
        return _address(self.proxy or self.url)


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (80 if parts.scheme == "http" else 443)


class _Run:
    def __init__(
        self,
        connection: Connection,
        transport: Transport,
        redactor: Redactor,
        notify: Callable[[str], None],
        runtime: Runtime | None,
    ) -> None:
        target = connection.target
        self.notify = notify
        self.connection = connection
        self.transport = transport
        self.redactor = redactor
        self.options = connection.http
        self.source: Source = source_of(target.api)
        self.client = Client(connection, self.source, transport, redactor, runtime)
        self.report = Report(target.host, target.api, connection.organization, warning=self.source.warning)
        self._peers: list[_Peer] = []

    def stage(self, name: str) -> bool:
        """Run one stage, and say whether the next one may begin."""
        started = time.monotonic()
        error: WdatpError | None = None
        try:
            detail = getattr(self, f"_{name}")()
        except WdatpError as failure:
            error, detail = failure, failure.message
        ms = round((time.monotonic() - started) * 1000)
        text = self.redactor.text
        self.report.stages.append(Stage(name, error is None, ms, text(detail), text(error.remedy if error else "")))
        self.report.error = error
        return error is None

    # --- the network -----------------------------------------------------------------------------------------------

    def _resolve(self) -> str:
        self._peers = self._find_peers()
        details = []
        for peer in self._peers:
            host, port = peer.first_hop
            try:
                found = {str(item[4][0]) for item in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
            except UnicodeError as error:
                # No DNS has such a name.
                raise self._failed(peer, socket.gaierror()) from error
            except OSError as error:
                raise self._failed(peer, error) from error
            details.append(f"{_hop(peer)}: {'an address already' if _is_address(host) else ', '.join(sorted(found))}")
        return _joined(details)

    def _find_peers(self) -> list[_Peer]:
        target = self.connection.target
        wanted = [("API", target.api_url)]
        # A managed identity's token comes from this very host.
        if self.connection.identity.method != "managed_identity":
            wanted.insert(0, ("login", target.authority_url))
        if len(wanted) == 2 and wanted[0][1] == wanted[1][1]:
            wanted = [("login and API", target.api_url)]
        return [_Peer(f"{label} host", url, *self.transport.route(url)) for label, url in wanted]

    def _connect(self) -> str:
        details = []
        for peer in self._peers:
            started = time.monotonic()
            try:
                socket.create_connection(peer.first_hop, timeout=self._socket_seconds()).close()
            except OSError as error:
                raise self._failed(peer, error) from error
            details.append(f"{_hop(peer)}: in {(time.monotonic() - started) * 1000:.0f} ms")
        return _joined(details)

    def _tls(self) -> str:
        return _joined([self._tls_to(peer) for peer in self._peers])

    def _tls_to(self, peer: _Peer) -> str:
        if peer.proxy and not peer.proxy.startswith("http://"):
            return f"{peer.label} {peer.name}: not looked at through this kind of proxy; the next stage will tell"
        try:
            context = _context(peer.verify)
        except OSError as error:
            raise bad_ca_file(self.options) from error
        try:
            version, der = self._handshake(peer, context)
        except ssl.SSLCertVerificationError as error:
            raise self._untrusted(peer, error) from error
        except OSError as error:
            raise self._failed(peer, error) from error
        checked = "" if peer.verify else ", NOT CHECKED (validate_certs is false)"
        return f"{peer.label} {peer.name}: {version}, {_certificate_text(der)}{checked}"

    def _handshake(self, peer: _Peer, context: ssl.SSLContext) -> tuple[str, bytes]:
        """(TLS version, the server's certificate in DER), through the proxy where there is one."""
        connection = http.client.HTTPSConnection(*peer.first_hop, timeout=self._socket_seconds(), context=context)
        if peer.proxy:
            connection.set_tunnel(*peer.address, headers=_proxy_headers(peer.proxy))
        try:
            connection.connect()
            found: Any = connection.sock
            return str(found.version()), found.getpeercert(binary_form=True) or b""
        finally:
            connection.close()

    def _untrusted(self, peer: _Peer, error: ssl.SSLCertVerificationError) -> TransportError:
        """What was refused, with the certificate itself: fetched once more, this time without a check."""
        found = explain(error, peer.url, self.options, peer.proxy).error
        try:
            _version, der = self._handshake(peer, _context(False))
        except OSError:
            return _labelled(peer, found)
        return _labelled(peer, found, f" Shown was a {_certificate_text(der)}.")

    def _failed(self, peer: _Peer, error: BaseException) -> TransportError:
        refused = explain(error, peer.url, self.options, peer.proxy).error
        if peer.proxy and refused.code in _NO_PROXY_THERE:
            refused = proxy_unreachable(peer.proxy, peer.name)
        return _labelled(peer, refused)

    def _socket_seconds(self) -> int:
        return min(self.options.timeout, _SOCKET_SECONDS)

    # --- Microsoft -------------------------------------------------------------------------------------------------

    def _clock(self) -> str:
        target, identity = self.connection.target, self.connection.identity
        url = f"{target.authority_url}/{identity.tenant_id}/v2.0/.well-known/openid-configuration"
        if identity.method == "managed_identity":
            url = target.api_url + self.source.path
        # Whatever it answers: every answer has a date.
        self.transport.request("GET", url)
        skew = self.report.clock_skew_seconds = self.transport.skew_seconds
        if skew is None:
            return f"{urlsplit(url).netloc} did not say what time it is"
        state = skew_words(skew)
        if abs(skew) <= _SKEW_SECONDS:
            return state
        if identity.method == "certificate":
            raise AuthError(
                f"{_capital(state)}, too far for signing in with a certificate (at most {_SKEW_SECONDS} s).",
                "Set this host's clock right (timedatectl or chronyc tracking shows its state).",
                code="auth.clock",
            )
        return f"{state}; windows follow Microsoft's time, but please set it right"

    def _token(self) -> str:
        token = self.client.auth.token()
        self.report.token_roles = sorted(token.roles)
        self.report.token_expires_in = max(0, round(token.expires_at - time.monotonic()))
        self._note_expiry()
        roles = f"roles {', '.join(sorted(token.roles))}" if token.roles else "no roles"
        secret = self.connection.identity.secret
        by = f", by the client secret: {secret.describe()}" if secret else ""
        return f"a token for {self.connection.target.scope} with {roles}, good for {token.lifetime // 60} min{by}"

    def _note_expiry(self) -> None:
        ends, now = self.client.auth.proof_ends, self.transport.server_now()
        if ends is not None:
            self.report.secret_ends, self.report.secret_days_left = ends, (ends - now) // DAY
            words = expiry_words(self.connection.identity.certificate_path or "", ends, now)
            if words:
                self.notify(words)

    def _permissions(self) -> str:
        token, source = self.client.auth.token(), self.source
        if not source.roles:
            return f"the API {source.name} asks for no roles"
        if token.is_opaque:
            return "the token can't be read here; the query will tell"
        found = sorted(set(token.roles) & set(source.roles))
        if found:
            return f"has {', '.join(found)}"
        has = ", ".join(sorted(token.roles)) or "no roles"
        raise ApiError(
            f"The app registration {self.connection.identity.client()} has {has}, needs {source.roles[0]}.",
            f"In the Entra admin center, under App registrations > API permissions, add the application permission"
            f" {source.roles[0]} of {source.resource_name} and grant admin consent; it can take some minutes to count.",
            code="api.forbidden",
        )

    def _query(self) -> str:
        reply = self.client.get(self.source.probe_params(self.transport.server_now()))
        line = partial(first_line, hide=self.redactor.text)
        count = parse_page(reply.body, place(reply.url), line, self.source.event).rows
        what = "the newest event of the last day" if count else "no event of the last day, which is an answer, too"
        return f"{self.report.host} answered {reply.status} with {what}"


# --- words -----------------------------------------------------------------------------------------------------------


def _hop(peer: _Peer) -> str:
    return (
        f"proxy {proxy_name(peer.proxy)} (to the {peer.label} {peer.name})"
        if peer.proxy
        else f"{peer.label} {peer.name}"
    )


def _labelled(peer: _Peer, error: TransportError, more: str = "") -> TransportError:
    """The same error, saying which host it was."""
    return TransportError(f"{_capital(peer.label)}: {error.message}{more}", error.remedy, error.code)


def _joined(details: list[str]) -> str:
    return "; ".join(details)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


# --- TLS -------------------------------------------------------------------------------------------------------------


def _context(verify: bool | str) -> ssl.SSLContext:
    """The TLS settings with which urllib3 and requests connect. OSError where the CA file is none."""
    from requests.utils import DEFAULT_CA_BUNDLE_PATH
    from urllib3.util.ssl_ import create_urllib3_context

    context = create_urllib3_context()
    context.check_hostname = bool(verify)
    context.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
    if verify:
        location = verify if isinstance(verify, str) else DEFAULT_CA_BUNDLE_PATH
        kind = "capath" if os.path.isdir(location) else "cafile"
        context.load_verify_locations(**{kind: location})
    return context


def _proxy_headers(proxy: str) -> dict[str, str]:
    from requests.utils import get_auth_from_url
    from urllib3.util.request import make_headers

    user, password = get_auth_from_url(proxy)
    if not user:
        return {}
    return {"Proxy-Authorization": make_headers(basic_auth=f"{user}:{password}")["authorization"]}


def _certificate_text(der: bytes) -> str:
    """Whose certificate it is, who signed it, and how long it lasts."""
    try:
        from cryptography import x509

        certificate = x509.load_der_x509_certificate(der)
        subject, issuer = certificate.subject.rfc4514_string(), certificate.issuer.rfc4514_string()
    except (ImportError, ValueError):
        return "certificate that can't be read here"
    from .certificates import end_of, names_of

    days = (end_of(certificate) - now_ticks()) // (86_400 * SECOND)
    lasts = f"good for {days} more days" if days >= 0 else "expired"
    names = names_of(certificate)
    shown = ", ".join(names[:_NAMES]) + (f" and {len(names) - _NAMES} more" if len(names) > _NAMES else "")
    return f"certificate of {subject or 'nobody'} for {shown or 'no name'}, signed by {issuer}, {lasts}"
