# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests and responses as the parts of the mock tenant hand them to each other."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from .jsontext import LAYOUTS

JSON_TYPE = "application/json; charset=utf-8"
ODATA_TYPE = "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"


@dataclass
class Request:
    method: str
    path: str
    query_text: str
    headers: Any
    body: bytes = b""
    # The address under which the client reached the mock: links lead back there.
    base_url: str = ""
    # The client's port: requests over one connection have the same.
    connection: int = 0
    client_address: str = ""
    # In DER, where the client showed one.
    client_certificate: bytes = b""
    query: dict[str, list[str]] = field(default_factory=dict)
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    # Filled in by the parts that answer; they end in the log of requests.
    leg: str = ""
    tenant_id: str = ""
    has_fault: bool = False
    note: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key, value in parse_qsl(self.query_text, keep_blank_values=True):
            self.query.setdefault(key, []).append(value)

    def header(self, name: str) -> str:
        return self.headers.get(name) or ""

    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))


@dataclass
class Page:
    """A page of alerts before it becomes bytes, so that a fault can still change it."""

    rows: list[bytes]
    context: str = ""
    count: int | None = None
    next_link: str | None = None
    # The exporter answers with a bare array.
    bare: bool = False
    link_last: bool = False
    layout: str = "compact"

    def render(self) -> bytes:
        comma, _colon, begin, end = (part.encode() for part in LAYOUTS[self.layout])
        rows = b"[" + begin + (b"," + comma).join(self.rows) + end + b"]"
        if self.bare:
            return rows
        head = {"@odata.context": self.context} if self.context else {}
        if self.count is not None:
            head["@odata.count"] = self.count  # type: ignore[assignment]
        link = {"@odata.nextLink": self.next_link} if self.next_link else {}
        if not self.link_last:
            head, link = {**head, **link}, {}
        return b"{" + _members(head, after=b",") + b'"value":' + rows + _members(link, before=b",") + b"}"


def _members(values: dict[str, Any], before: bytes = b"", after: bytes = b"") -> bytes:
    if not values:
        return b""
    return before + json.dumps(values, separators=(",", ":")).encode()[1:-1] + after


@dataclass
class Response:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    page: Page | None = None
    # Rendered pages may be kept; not where the answer depends on the time of day.
    cacheable: bool = False
    gzipped: bool = False
    # An answer that is made while it is sent.
    stream: Iterator[bytes] | None = None

    def payload(self) -> bytes:
        if self.page is not None:
            self.body, self.page = self.page.render(), None
        return self.body


def json_response(value: Any, status: int = 200, **headers: str) -> Response:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Response(status, json.dumps(value).encode(), {"Content-Type": JSON_TYPE, **named})


# CyberArk's codes: status, text. docs.cyberark.com, "Call the Central Credential Provider Web Service using REST".
CCP_ERRORS = {
    "AIMWS030E": (400, "Invalid query format"),
    "AIMWS031E": (400, "Invalid request. The AppID parameter is required"),
    "APPAP004E": (
        404,
        "Password object matching query [{query}] was not found. Please check that there is a password"
        " object that answers your query in the Vault and that both the Provider and the application user have the"
        " appropriate permissions needed in order to use the password",
    ),
    "APPAP007E": (400, "Connection to the Vault has failed"),
    "APPAP008E": (403, "ITATS982E User {app} is not defined"),
    "APPAP081E": (400, "Failed to parse the request content"),
    "APPAP087E": (403, "The application is not authorized for this account"),
    "APPAP096W": (400, "The connection to the Vault was lost"),
    "APPAP132E": (403, "Failed to authenticate the application"),
    "APPAP227E": (400, "Too many objects match the query"),
    "APPAP228E": (400, "There are several password objects that answer the query [{query}]"),
    "APPAP229E": (400, "Too many password objects matching query were found"),
    "APPAP230E": (400, "The query is ambiguous"),
    "APPAP249E": (404, "The account was not found"),
    "APPAP251E": (400, "More than one account fits"),
    "APPAP282E": (500, "Password is currently being changed by the CPM"),
    "APPAP286E": (500, "The account is currently being changed"),
    "APPAP289E": (400, "The Vault can't be reached"),
    "APPAP291E": (400, "The Vault can't be reached"),
    "APPAP292E": (400, "The Vault can't be reached"),
    "APPAP297E": (400, "The Vault can't be reached"),
    "APPAP306E": (
        403,
        "Failed to authenticate application [wdatp]. Reason: APPAP133E Failed to verify application"
        " authentication data: {reason}",
    ),
    "APPAP324E": (404, "The object was not found"),
    "CASVL010E": (400, "Invalid characters in User Name"),
}


def ccp_error(code: str, **values: str) -> Response:
    status, text = CCP_ERRORS.get(code, (500, "The mock tenant was told to fail"))
    said = text.format_map({"query": "", "app": "", "reason": "it does not fit", **values})
    return json_response({"ErrorCode": code, "ErrorMsg": said}, status)


class ApiError(Exception):
    """An answer that is an error; each API puts it into its own form."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}
