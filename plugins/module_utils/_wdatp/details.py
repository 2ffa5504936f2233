# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file that the Defender portal's SIEM page saved ("Save details to file"): an identity and its addresses in one.

Source: "Enable SIEM integration" in the public history of MicrosoftDocs/microsoft-365-docs, which says what the file
is for and not how it is written. So names are taken as the page shows them, whatever their case, spaces and marks, in
lines (`Client ID: …`, `client_id=…`, the value perhaps on the next line) or as JSON; all else is passed over.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from .credentials import check_client_id, check_tenant_id
from .errors import CredentialError, OptionError

# A file of that kind has a few hundred bytes.
_LARGEST = 65_536
_NAMES = {
    "tenant_id": ("tenantid", "directoryid", "directorytenantid", "aadtenantid", "tenant"),
    "client_id": ("clientid", "applicationid", "applicationclientid", "appid", "oauth2clientid"),
    "client_secret": ("clientsecret", "applicationsecret", "appsecret", "secret", "clientkey", "oauth2clientsecret"),
    "login": (
        "authorizationserverurl",
        "authorizationserver",
        "authurl",
        "tokenurl",
        "oauth2tokenrefreshurl",
        "authority",
        "tokenendpoint",
    ),
    "address": (
        "url",
        "apiurl",
        "siemapiurl",
        "alertsurl",
        "endpoint",
        "restapiurl",
        "alertsresturl",
        "host",
        "apihost",
    ),
}
_KINDS = {name: kind for kind, names in _NAMES.items() for name in names}
_LINE = re.compile(r"\s*([^:=]{2,60}?)\s*[:=]\s*(.*?)\s*")


@dataclass(frozen=True)
class Details:
    """What a file says; None where it says nothing. `host`: the API's."""

    tenant_id: str | None = None
    client_id: str | None = None
    client_secret: str | None = None
    host: str | None = None

    def __repr__(self) -> str:
        return f"Details(tenant_id={self.tenant_id!r}, client_id={self.client_id!r}, host={self.host!r})"


def read_details(path: str) -> Details:
    """The details in a file. CredentialError where it can't be read or lacks the client's ID or secret."""
    found = dict(_found(_text(path)))
    login = found.pop("login", "")
    tenant_id = found.get("tenant_id") or _tenant_in(login)
    try:
        if tenant_id:
            check_tenant_id(tenant_id)
        if "client_id" in found:
            check_client_id(found["client_id"])
    except OptionError as error:
        raise _unusable(path, error.message.rstrip(".")) from None
    missing = [name for name in ("client_id", "client_secret") if name not in found]
    if missing:
        raise _unusable(path, f"it names no {' and no '.join(missing)}")
    return Details(tenant_id or None, found["client_id"], found["client_secret"], _host_in(found.get("address", "")))


def _text(path: str) -> str:
    try:
        with open(path, "rb") as stream:
            content = stream.read(_LARGEST)
    except OSError as error:
        raise _unusable(path, f"it can't be read ({error.strerror})") from None
    # Windows' editors mark what they write.
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text: str | None = content.decode(encoding)
    except UnicodeDecodeError:
        # Not raised from here: the decoder's error would hold the secret.
        text = None
    if text is None:
        raise _unusable(path, "it is no text")
    return text


def _found(text: str) -> Iterator[tuple[str, str]]:
    """(kind, value) of what is known, the last one of a kind last."""
    for name, value in _pairs(text):
        kind = _KINDS.get(re.sub(r"[^a-z0-9]", "", name.lower()))
        if kind and value:
            yield kind, value


def _pairs(text: str) -> Iterable[tuple[str, str]]:
    try:
        values = json.loads(text)
    except ValueError:
        return _pairs_of_lines(text.splitlines())
    return _pairs_of_json(values)


def _pairs_of_json(value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, list):
        for item in value:
            yield from _pairs_of_json(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            if isinstance(item, str):
                yield name, item.strip()
            else:
                yield from _pairs_of_json(item)


def _pairs_of_lines(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    waiting = ""
    for line in lines:
        match = _LINE.fullmatch(line)
        name = match[1] if match else line.strip()
        is_name = re.sub(r"[^a-z0-9]", "", name.lower()) in _KINDS
        if waiting and line.strip() and not is_name:
            yield waiting, line.strip()
            waiting = ""
        elif is_name and match and match[2]:
            yield name, match[2]
            waiting = ""
        elif is_name:
            waiting = name


def _tenant_in(login: str) -> str:
    """The tenant in an address such as https://login.microsoftonline.com/<tenant>/oauth2/token."""
    parts = urlsplit(login if "://" in login else f"https://{login}").path.strip("/").split("/")
    return parts[0] if parts[0] not in ("", "common", "organizations", "oauth2") else ""


def _host_in(address: str) -> str | None:
    try:
        return urlsplit(address if "://" in address else f"https://{address}").hostname if address else None
    except ValueError:
        return None


def _unusable(path: str, why: str) -> CredentialError:
    return CredentialError(
        f"details_file {path} can't be used: {why}.",
        "It is the file that the Defender portal's SIEM page saved. If it is written in another way, give tenant_id,"
        " client_id and client_secret instead.",
        code="credential.details_file",
    )
