# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client secret that CyberArk keeps: its Central Credential Provider (CCP) is asked when it is needed.

One GET gives one account. Source: docs.cyberark.com, Credential Providers, "Call the Central Credential Provider Web
Service using REST". The secret is in memory for one run, and nowhere else.
"""

from __future__ import annotations

import json
import os
import re
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from .ccp_errors import not_from_ccp, refused
from .errors import OptionError, TransportError, VaultError, WdatpError
from .options import CYBERARK
from .secrets import SecretSource

if TYPE_CHECKING:
    from .config import HttpOptions
    from .transport import Reply

# The parameters' names on the wire.
_CRITERIA = {
    "safe": "Safe",
    "folder": "Folder",
    "object": "Object",
    "username": "UserName",
    "address": "Address",
    "database": "Database",
    "policy_id": "PolicyID",
}
_PARAMETERS = {
    "app_id": "AppID",
    **_CRITERIA,
    "query": "Query",
    "query_format": "QueryFormat",
    "reason": "Reason",
    "connection_timeout": "ConnectionTimeout",
    "fail_request_on_password_change": "FailRequestOnPasswordChange",
}
_FILES = ("client_cert", "client_key", "ca_path")
_TYPES = {"str": str, "path": str, "int": int, "bool": bool}
# CCP's own patience with the vault, unless it is told otherwise; ours is longer, or its answer would be missed.
_CCP_SECONDS = 30
_MORE_SECONDS = 5
# Waits before another try, where one may help.
_WAITS = (2.0, 5.0)
# So long CyberArk may take to change a password that has just been refused.
_CHANGE_SECONDS = 5.0
_NETWORK_RETRIES = 1
# What CCP answered is believed so long: many tenants may share a secret that is refused, or a CCP that is down.
_BELIEVED_SECONDS = 60.0
# Control characters, line ends, and what stands for bytes that are no text.
_UNUSABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_TITLE = re.compile(rb"<title[^>]*>(.*?)</title>", re.DOTALL | re.IGNORECASE)
_CERTIFICATE = (
    "If CCP wants a client certificate, set client_cert and client_key of the cyberark option to one it takes."
)
_REACH = "Check url of the cyberark option, and that a firewall lets this host reach it: no proxy is ever used for CCP."
_CA = "Set ca_path of the cyberark option to a PEM file with the CA that signed the CCP server's certificate."
_NETWORK_REMEDIES = {
    "network.dns": "Check url of the cyberark option for a slip, and this host's DNS.",
    "network.refused": _REACH,
    "network.unreachable": _REACH,
    "network.timeout": _REACH,
    "network.tls_name": "Set url of the cyberark option to a name that is in the certificate.",
    "network.tls": _CERTIFICATE,
    "network.broken": _CERTIFICATE,
    "network.tls_untrusted": _CA,
    "network.ca_path": _CA,
}


# --- which account, and how to ask for it ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Account:
    """The option `cyberark`: no secret is in it. Made by account_of, which checks it."""

    url: str
    app_id: str
    webservice_id: str
    validate_certs: bool
    safe: str | None = None
    folder: str | None = None
    object: str | None = None
    username: str | None = None
    address: str | None = None
    database: str | None = None
    policy_id: str | None = None
    query: str | None = None
    query_format: str | None = None
    reason: str | None = None
    # seconds
    connection_timeout: int | None = None
    fail_request_on_password_change: bool | None = None
    client_cert: str | None = None
    client_key: str | None = None
    ca_path: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def endpoint(self) -> str:
        return f"{self.url}/{quote(self.webservice_id)}/api/Accounts"

    def parameters(self) -> list[tuple[str, str]]:
        """The query, not yet encoded."""
        values = ((parameter, getattr(self, name)) for name, parameter in _PARAMETERS.items())
        return [(parameter, _wire(value)) for parameter, value in values if value is not None]

    def describe(self) -> str:
        """Which account of which CCP, for messages."""
        names = ("query",) if self.query else tuple(_CRITERIA)
        given = ((name.replace("_", " "), getattr(self, name)) for name in names)
        what = ", ".join(f"{name} {value}" for name, value in given if value is not None)
        return f"CyberArk account ({what}) for the application {self.app_id}, from {urlsplit(self.url).netloc}"


def _wire(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def account_of(values: Mapping[str, Any]) -> Account:
    """The account that these option values mean, None or "" where not given. OptionError where CCP can't be asked."""
    defaults = {option.name: option.default for option in CYBERARK if option.default is not None}
    given = {**defaults, **{name: value for name, value in values.items() if value is not None and value != ""}}
    _check_names_and_types(given)
    for name in ("url", "app_id"):
        if name not in given:
            raise OptionError(
                f"cyberark: {name} is missing.", "Give url, app_id, and what finds the account.", code="option.missing"
            )
    _check_texts(given)
    _check_choice(given)
    if given.get("connection_timeout", 1) < 1:
        raise OptionError("cyberark: connection_timeout is too small.", "Give at least 1 second.")
    _check_files(given)
    service = str(given["webservice_id"]).strip("/")
    if not service or re.search(r"[?#%\\]|/api/accounts$", service, re.IGNORECASE):
        raise _nonsense("webservice_id", service, "Write the web service's name alone, such as AIMWebService.")
    return Account(**{**given, "webservice_id": service, "url": _base(str(given["url"]), service)})


def _check_names_and_types(given: Mapping[str, Any]) -> None:
    kinds = {option.name: option.type for option in CYBERARK}
    for name, value in given.items():
        if name not in kinds:
            raise OptionError(f"cyberark: there is no {name}.", f"There are: {', '.join(kinds)}.")
        kind = _TYPES[kinds[name]]
        # To Python, True is a number too.
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise OptionError(f"cyberark: {name} has the wrong type.", f"It is a {kinds[name]}.")
    formats = next(option.choices for option in CYBERARK if option.name == "query_format")
    if given.get("query_format", formats[0]) not in formats:
        raise _nonsense("query_format", given["query_format"], f"Write {' or '.join(formats)}.")


def _check_texts(given: Mapping[str, Any]) -> None:
    for name in ("webservice_id", *_PARAMETERS):
        text = given.get(name)
        if not isinstance(text, str):
            continue
        if _UNUSABLE.search(text) or not text.strip():
            raise _nonsense(name, text, "Write it on one line, with printable characters.")
        if ";" in text and name != "query":
            raise _nonsense(name, text, "CyberArk takes no semicolon there: it separates the parts of a query.")


def _check_choice(given: Mapping[str, Any]) -> None:
    criteria = [name for name in _CRITERIA if name in given]
    if "query" in given and criteria:
        raise OptionError(
            f"cyberark: query is given together with {', '.join(criteria)}, which CCP would then ignore.",
            "Give either query or the others.",
            code="option.conflict",
        )
    if "query" not in given and not criteria:
        raise OptionError(
            "cyberark: nothing says which account is meant.",
            f"Give safe and object, or another of {', '.join(_CRITERIA)}, or query.",
            code="option.missing",
        )


def _check_files(given: Mapping[str, Any]) -> None:
    for name in _FILES:
        if name in given and not os.path.isabs(given[name]):
            raise _nonsense(name, given[name], "Write the whole path, beginning with /.")
    if "client_key" in given and "client_cert" not in given:
        raise OptionError("cyberark: client_key is given without client_cert.", "Give both.", code="option.missing")


def _base(url: str, service: str) -> str:
    """The address before the web service's name. OptionError where it is something else."""
    try:
        parts = urlsplit(url)
        good = parts.scheme == "https" and bool(parts.hostname) and (parts.port or 443) > 0
    except ValueError:
        good = False
    if not good or re.search(r"[?#@\s\\]", url):
        # Not quoted: there may be a password in it.
        raise OptionError(
            "cyberark: url is no plain https address.",
            "Write https:// and the CCP server's name, perhaps with a port and a path.",
        )
    path = parts.path.rstrip("/")
    if path.lower().endswith(("/api/accounts", f"/{service.lower()}")):
        raise _nonsense("url", url, "Write only what stands before the web service's name, and that in webservice_id.")
    return f"https://{parts.netloc}{path}"


def _nonsense(name: str, value: Any, remedy: str) -> OptionError:
    return OptionError(f"cyberark: {name} can't be {value!r}.", remedy)


# --- the secret -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Answer:
    content: str = field(repr=False)
    user_name: str
    # CyberArk is changing the password: this may be the old one already, or the new one too early.
    is_changing: bool = field(default=False, compare=False)


class CcpSecret(SecretSource):
    """Asks once, and keeps the answer for as long as this object lives: one run, for all tenants of a credential."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._answer: _Answer | None = None
        self._failure: WdatpError | None = None
        # When CCP was last asked after a refusal, and when last in vain: time.monotonic().
        self._renewed_at = self._failed_at = float("-inf")
        self._guard = threading.RLock()

    def read(self) -> str:
        return self._held().content

    def client_id(self) -> str:
        # Not at the top: the stored credentials need this file.
        from .credentials import is_guid

        name = self._held().user_name
        if not is_guid(name):
            raise VaultError(
                f"The user name of the {self.describe()} is {name!r}, which is no client ID.",
                "Put the Application (client) ID of the app registration into the account's user name, or give"
                " client_id in the credential's definition (wdatp_credential).",
                code="cyberark.user_name",
            )
        return name

    def describe(self) -> str:
        return self._account.describe()

    def renew(self, refused: str) -> bool:
        # Of several tenants that are refused at the same time, the first one asks for all.
        with self._guard:
            if self._held().content != refused:
                return True
            if time.monotonic() - self._renewed_at < _BELIEVED_SECONDS:
                return False
            before, self._answer = self._held(), None
            self._renewed_at = time.monotonic()
            if before.is_changing:
                time.sleep(_CHANGE_SECONDS)
            return self._held() != before

    def _held(self) -> _Answer:
        with self._guard:
            return self._held_alone()

    def _held_alone(self) -> _Answer:
        if self._answer is None:
            if self._failure is not None and time.monotonic() - self._failed_at < _BELIEVED_SECONDS:
                raise self._failure
            try:
                self._answer = self._fetch()
            except WdatpError as error:
                self._failure, self._failed_at = error, time.monotonic()
                raise
        return self._answer

    def _fetch(self) -> _Answer:
        for wait in _WAITS:
            try:
                return self._ask()
            except VaultError as error:
                if not error.is_passing:
                    raise
            time.sleep(wait)
        return self._ask()

    def _ask(self) -> _Answer:
        # Not at the top: the transport needs config.py, which needs the stored credentials, which need this file.
        from .transport import Transport

        account = self._account
        _check_certificate(account)
        transport = Transport(_http(account))
        try:
            # Not its own retries by status: the code in the body says whether another try may help.
            reply = transport.request("GET", account.endpoint, account.parameters(), retry_status=False)
        except TransportError as error:
            remedy = _NETWORK_REMEDIES.get(error.code, error.remedy)
            raise TransportError(f"CyberArk CCP: {error.message}", remedy, error.code) from error
        finally:
            transport.close()
        return _answer_of(reply)


def _http(account: Account) -> HttpOptions:
    from .config import HttpOptions

    return HttpOptions(
        ca_path=account.ca_path,
        validate_certs=account.validate_certs,
        timeout=(account.connection_timeout or _CCP_SECONDS) + _MORE_SECONDS,
        retries=_NETWORK_RETRIES,
        client_certificate=_certificate(account),
        is_direct=True,
    )


def _certificate(account: Account) -> str | tuple[str, str] | None:
    if account.client_cert and account.client_key:
        return account.client_cert, account.client_key
    return account.client_cert


def _check_certificate(account: Account) -> None:
    """VaultError where the client certificate can't serve; requests would not say which file it is."""
    if account.client_cert is None:
        return
    try:
        # With a password, though an empty one, OpenSSL does not ask for one at the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(account.client_cert, account.client_key, password="")
    except OSError as error:
        files = account.client_cert + (f" and {account.client_key}" if account.client_key else "")
        is_read = isinstance(error, ssl.SSLError)
        reason = "that is no certificate with its own, unencrypted key" if is_read else error.strerror
        raise VaultError(
            f"The client certificate for CyberArk CCP can't be used ({files}): {reason}.",
            "Give PEM files that the user who runs this may read, with a key that belongs to the certificate and is not"
            " encrypted.",
            code="cyberark.client_cert",
        ) from None


def _answer_of(reply: Reply) -> _Answer:
    """VaultError where it holds no account. A body may hold the secret: of one that is none of CCP's, no more is said
    than what it is."""
    try:
        body = json.loads(reply.body.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise not_from_ccp(reply.place, reply.status, _kind_of(reply.body))
    code = body.get("ErrorCode")
    if code:
        raise refused(reply.place, str(code)[:20], str(body.get("ErrorMsg") or body.get("ErrorMessage") or ""))
    if reply.status != 200:
        raise not_from_ccp(reply.place, reply.status, "JSON that has no error code of CyberArk")
    content = body.get("Content")
    if not isinstance(content, str) or not content.strip():
        raise VaultError(
            f"CyberArk CCP: {reply.place} gave an account without a password.",
            "In CyberArk, put the client secret's value into the account's password.",
            code="cyberark.no_content",
        )
    # A bool, or its name: clients have met both.
    is_changing = str(body.get("PasswordChangeInProcess")).lower() == "true"
    return _Answer(content.rstrip("\r\n"), str(body.get("UserName") or "").strip(), is_changing)


def _kind_of(body: bytes) -> str:
    """What a body is that is no JSON object."""
    text = body.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not text:
        return "nothing"
    if text.startswith(b"<"):
        found = _TITLE.search(text)
        title = " ".join(found[1].decode("utf-8", "replace").split())[:100] if found else ""
        return f'an HTML page ("{title}")' if title else "an HTML page"
    if text.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "text in UTF-16"
    return "something that is no JSON object"
