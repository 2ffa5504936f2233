# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a failed connection means: from the exceptions of requests, urllib3 and ssl to one error with a remedy."""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from .config import HttpOptions
from .errors import TransportError

_NO_WAY = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EPERM, errno.EACCES)
# http.client's words for a proxy that gives no tunnel.
_TUNNEL = re.compile(r"Tunnel connection failed: (\d+)")
# Of OpenSSL's X509_V_ERR_* (openssl-verification-options(1)).
_EXPIRED, _NOT_YET = 10, 9
_WRONG_NAME = (62, 64)


@dataclass(frozen=True)
class Failure:
    """`is_passing`: another try may help. `is_connect`: no connection came about."""

    error: TransportError
    is_passing: bool = True
    is_connect: bool = False


def chain_of(error: BaseException) -> Iterator[BaseException]:
    """The error and all that it came from: causes, contexts, and the arguments in which urllib3 hides reasons."""
    todo, seen = [error], set()
    while todo:
        item = todo.pop(0)
        if id(item) in seen:
            continue
        seen.add(id(item))
        yield item
        inner = [item.__cause__, item.__context__, getattr(item, "reason", None), *item.args]
        todo += [part for part in inner if isinstance(part, BaseException)]


def explain(error: BaseException, url: str, options: HttpOptions, proxy: str | None = None) -> Failure:
    """The failure in words. Never quotes the exception's own text: it may hold a URL with a proxy's password.

    `proxy`: the one on the way, if any.
    """
    host = urlsplit(url).netloc
    chain = list(chain_of(error))
    names = {type(item).__name__ for item in chain}
    found = (
        _proxy(chain, names, host, proxy or options.proxy)
        or _tls(chain, names, host, options, proxy)
        or _network(chain, names, host, options)
    )
    return found or Failure(_error("failed", f"The connection to {host} failed ({type(error).__name__}).", _LOOK))


_LOOK = "Run wdatp_test_connectivity from the same host: it shows the stage that fails."


def _error(kind: str, message: str, remedy: str, wants_less: bool = False) -> TransportError:
    return TransportError(message, remedy, code=f"network.{kind}", wants_less=wants_less)


def proxy_name(proxy: str | None) -> str:
    """The proxy without user and password, for messages."""
    parts = urlsplit(proxy or "")
    return f"{parts.hostname}:{parts.port}" if parts.hostname else "from the environment (HTTPS_PROXY)"


def _proxy(chain: list[BaseException], names: set[str], host: str, proxy: str | None) -> Failure | None:
    refused = next(filter(None, (_TUNNEL.search(str(item)) for item in chain)), None)
    if refused:
        # Of 5xx, the proxy itself can't reach the host, which may pass.
        return Failure(proxy_refused(proxy, host, int(refused[1])), is_passing=refused[1].startswith("5"))
    if "ProxyError" in names:
        return Failure(proxy_unreachable(proxy, host), is_connect=True)
    return None


def proxy_refused(proxy: str | None, host: str, status: int) -> TransportError:
    """A proxy that answered, but gave no tunnel."""
    if status == 407:
        return _error(
            "proxy_auth",
            f"The proxy {proxy_name(proxy)} refused the connection to {host}: it wants a user and a password (407).",
            "Give them in proxy as http://user:password@host:port, url-encoded where they hold special characters;"
            " a proxy that takes only NTLM or Kerberos has to let this host through without.",
        )
    if status >= 500:
        return _error(
            "proxy",
            f"The proxy {proxy_name(proxy)} can't reach {host} ({status}).",
            "Check the address for a slip; if it is right, ask whoever runs the proxy.",
        )
    return _error(
        "proxy",
        f"The proxy {proxy_name(proxy)} refused the connection to {host} ({status}).",
        f"Ask for {host if ':' in host else host + ':443'} to be allowed on the proxy, or use another proxy.",
    )


def proxy_unreachable(proxy: str | None, host: str) -> TransportError:
    return _error(
        "proxy",
        f"The proxy {proxy_name(proxy)} can't be reached for the connection to {host}.",
        "Check the option proxy and the variables HTTPS_PROXY and NO_PROXY on the host where this runs.",
    )


def _tls(
    chain: list[BaseException], names: set[str], host: str, options: HttpOptions, proxy: str | None
) -> Failure | None:
    verification = next((item for item in chain if isinstance(item, ssl.SSLCertVerificationError)), None)
    if verification is not None:
        return Failure(tls_error(verification, host, options), is_passing=False)
    if "CertificateError" in names:
        # urllib3 before 2.0 compares the names itself.
        return Failure(_tls_name(host, "it does not fit the address"), is_passing=False)
    # A TLS error made of a PermissionError: the file may not be read. (By itself, a firewall may cause one.)
    is_denied = "SSLError" in names and any(isinstance(item, PermissionError) for item in chain)
    if is_denied or any(map(_is_about_ca_file, chain)):
        return Failure(bad_ca_file(options), is_passing=False)
    if "SSLError" in names or any(isinstance(item, ssl.SSLError) for item in chain):
        through = f" through the proxy {proxy_name(proxy)}" if proxy else ""
        return Failure(
            _error(
                "tls",
                f"No TLS connection to {host}{through} came about: what answers there does not speak TLS as it should.",
                "Check the address and port; a proxy's sign-in page in the way looks like this, too."
                if proxy
                else "Check that the address and port speak https with TLS 1.2 or later; behind a proxy, set proxy.",
            )
        )
    return None


def _is_about_ca_file(error: BaseException) -> bool:
    """requests' words for a missing file, or OpenSSL's library for one without certificates."""
    if isinstance(error, ssl.SSLError):
        return error.library in ("X509", "PEM")
    return isinstance(error, OSError) and "CA certificate bundle" in str(error)


def trusted_by(options: HttpOptions) -> str:
    """What certificates are checked against, in words; in requests' own order."""
    if options.ca_path:
        return f"ca_path ({options.ca_path})"
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if os.environ.get(name):
            return f"{name} ({os.environ[name]})"
    return "the CA certificates that requests brings along"


def bad_ca_file(options: HttpOptions) -> TransportError:
    return _error(
        "ca_path",
        f"The CA certificates can't be read: {trusted_by(options)}.",
        "Give a PEM file (-----BEGIN CERTIFICATE-----) that the user who runs this may read.",
    )


def tls_error(error: ssl.SSLCertVerificationError, host: str, options: HttpOptions) -> TransportError:
    """A certificate that was refused, in words."""
    number = error.verify_code
    if number in _WRONG_NAME:
        return _tls_name(host, error.verify_message.rstrip("."))
    if number in (_EXPIRED, _NOT_YET):
        state = "has expired" if number == _EXPIRED else "is not valid yet"
        return _error(
            "tls_expired",
            f"The certificate that {host} showed {state}.",
            "Check this host's clock first; if it is right, the server's or proxy's certificate has to be renewed.",
        )
    return _error(
        "tls_untrusted",
        f"The certificate that {host} showed is not trusted: {error.verify_message}.",
        f"It was checked against {trusted_by(options)}. Set ca_path to a PEM file with the CA that signed it"
        " (a company's proxy often has its own).",
    )


def _tls_name(host: str, reason: str) -> TransportError:
    return _error(
        "tls_name",
        f"The certificate that {host} showed is for another name: {reason}.",
        "Check host or api_url; a proxy or a wrong DNS entry may lead elsewhere.",
    )


def _network(chain: list[BaseException], names: set[str], host: str, options: HttpOptions) -> Failure | None:
    if "NameResolutionError" in names or any(isinstance(item, socket.gaierror) for item in chain):
        return Failure(
            _error(
                "dns",
                f"The host name {host.rsplit(':', 1)[0]} is not known to DNS here.",
                "Check host, api_url and authority_url for a slip, and this host's DNS; behind a proxy, set proxy.",
            ),
            is_connect=True,
        )
    if any(isinstance(item, ConnectionRefusedError) for item in chain):
        return Failure(
            _error(
                "refused",
                f"{host} refused the connection.",
                "Check the address and port, and that a firewall lets this host out; behind a proxy, set proxy.",
            ),
            is_connect=True,
        )
    if any(isinstance(item, OSError) and item.errno in _NO_WAY for item in chain):
        return Failure(
            _error(
                "unreachable",
                f"There is no way from this host to {host}.",
                "Check this host's network and firewall; behind a proxy, set proxy.",
            ),
            is_connect=True,
        )
    if names & {"ConnectTimeoutError", "ConnectTimeout"}:
        return Failure(
            _error(
                "timeout",
                f"{host} did not answer within {options.timeout} s (connecting).",
                "Check that a firewall lets this host out to port 443; behind a proxy, set proxy.",
            ),
            is_connect=True,
        )
    if names & {"ReadTimeoutError", "ReadTimeout", "TimeoutError", "timeout"}:
        return Failure(
            _error(
                "timeout",
                f"{host} began no answer, or did not finish it, in time (timeout {options.timeout} s).",
                "Try a larger timeout or a smaller page_size.",
                wants_less=True,
            )
        )
    if names & {"IncompleteRead", "ProtocolError", "InvalidChunkLength", "DecodeError", "ContentDecodingError"} or any(
        isinstance(item, ConnectionError) for item in chain
    ):
        return Failure(
            _error(
                "broken",
                f"{host} broke the connection off in the middle of an answer.",
                "If it lasts, a proxy or firewall on the way may be cutting connections; try a smaller page_size.",
            )
        )
    return None
