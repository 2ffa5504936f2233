# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CyberArk's Central Credential Provider (CCP): a web service that gives out accounts, the app registration's secret
among them. It has a port and a CA of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from .faults import Fault, Faults, answer_with_faults
from .messages import Request, Response, ccp_error, json_response

if TYPE_CHECKING:
    from .config import TenantConfig

# What happens to a client without a certificate. accepted: nothing; required: IIS's page 403.7; demanded: no TLS.
CERTIFICATES = ("accepted", "required", "demanded")
# Names of parameters -> the account's properties.
_CRITERIA = {
    "safe": "Safe",
    "folder": "Folder",
    "object": "Object",
    "username": "UserName",
    "address": "Address",
    "database": "Database",
    "policyid": "PolicyID",
}
_OTHERS = ("appid", "query", "queryformat", "reason", "connectiontimeout", "failrequestonpasswordchange")
_SECRET_ACCOUNT = {"Safe": "Defender", "Object": "wdatp-app", "PolicyID": "MicrosoftEntraApp"}
_NO_CERTIFICATE = (
    '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1-strict.dtd">\r\n'
    "<html><head><title>403 - Forbidden: Access is denied.</title></head>\r\n<body><h2>403.7 - Client certificate"
    " required</h2></body></html>\r\n"
)


@dataclass
class CcpConfig:
    """What the knob `ccp` may have in it."""

    webservice_id: str = "AIMWebService"
    # Before the web service's name, such as /vault.
    path: str = ""
    app_id: str = "wdatp"
    # Each with its properties; None: the app registration's own.
    accounts: list[dict[str, Any]] | None = None
    client_certificate: str = "accepted"
    # Of client certificates, in hexadecimal; none: any, or no certificate at all.
    serial_numbers: list[str] = field(default_factory=list)
    # Addresses of clients; none: any.
    allowed_machines: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, knobs: Mapping[str, Any]) -> CcpConfig:
        """ValueError, and a sentence, for what is wrong."""
        known = {item.name for item in fields(cls)}
        unknown = sorted(set(knobs) - known)
        if unknown:
            raise ValueError(f"unknown knobs in ccp: {', '.join(unknown)}; known are {', '.join(sorted(known))}")
        found = cls(**knobs)
        if found.client_certificate not in CERTIFICATES:
            raise ValueError(f"client_certificate is one of {', '.join(CERTIFICATES)}")
        return found


class Ccp:
    """`config`: of the tenant; its knob `ccp` may be turned at any time."""

    def __init__(self, config: TenantConfig, faults: Faults) -> None:
        self._config = config
        self._faults = faults

    @property
    def config(self) -> CcpConfig:
        return CcpConfig.read(self._config.ccp or {})

    def first_account(self) -> dict[str, Any]:
        return self._accounts()[0] if self._accounts() else {}

    def answer(self, request: Request) -> tuple[Response, Fault | None]:
        request.leg = "ccp"
        # Not as a form: there a + would be a space, and a client that sends one would not be noticed.
        pairs = [part.partition("=") for part in request.query_text.split("&") if part]
        request.query = {}
        for name, _equals, value in pairs:
            request.query.setdefault(unquote(name), []).append(unquote(value))
        return answer_with_faults(self._faults, request, "ccp", self._route)

    def _route(self, request: Request) -> Response:
        config = self.config
        if request.path.lower() != f"{config.path.rstrip('/')}/{config.webservice_id}/api/accounts".lower():
            text = f"No HTTP resource was found that matches the request URI '{request.base_url}{request.path}'."
            return json_response({"Message": text}, 404)
        serial = _serial_number(request)
        request.note["serial_number"] = serial
        if config.client_certificate == "required" and not serial:
            return Response(403, _NO_CERTIFICATE.encode(), {"Content-Type": "text/html"})
        given = {name.lower(): values[-1] for name, values in request.query.items() if values[-1]}
        return self._refusal(config, given, serial, request.client_address) or self._account(given)

    def _refusal(self, config: CcpConfig, given: Mapping[str, str], serial: str, address: str) -> Response | None:
        if "appid" not in given:
            return ccp_error("AIMWS031E")
        if set(given) - {*_CRITERIA, *_OTHERS} or not set(given) & {*_CRITERIA, "query"}:
            return ccp_error("AIMWS030E")
        if any(";" in value for name, value in given.items() if name != "query"):
            return ccp_error("AIMWS030E")
        if given["appid"] != config.app_id:
            return ccp_error("APPAP008E", app=given["appid"])
        if config.serial_numbers and serial not in config.serial_numbers:
            return ccp_error("APPAP306E", reason=f"CertificateSN [{serial}] is unauthorized")
        if config.allowed_machines and address not in config.allowed_machines:
            return ccp_error("APPAP306E", reason=f"client machine address [{address}] is unauthorized")
        return None

    def _account(self, given: Mapping[str, str]) -> Response:
        criteria = {_CRITERIA[name]: value for name, value in given.items() if name in _CRITERIA}
        if "query" in given:
            parts = [part.partition("=") for part in given["query"].split(";") if part]
            unknown = [name for name, _equals, _value in parts if name.strip().lower() not in _CRITERIA]
            if unknown or not parts:
                return ccp_error("AIMWS030E")
            criteria = {_CRITERIA[name.strip().lower()]: value for name, _equals, value in parts}
        is_regexp = given.get("queryformat", "Exact").lower() == "regexp"
        criteria.setdefault("Folder", "Root")
        found = [item for item in self._accounts() if _fits(item, criteria, is_regexp)]
        if not found:
            return ccp_error("APPAP004E", query=str(criteria))
        if len(found) > 1:
            return ccp_error("APPAP228E", query=str(criteria))
        is_changing = str(found[0]["PasswordChangeInProcess"]).lower() == "true"
        if is_changing and given.get("failrequestonpasswordchange", "").lower() == "true":
            return ccp_error("APPAP282E")
        # Only the properties that the account has.
        account = {name: value for name, value in found[0].items() if value is not None}
        return json_response({("Name" if name == "Object" else name): value for name, value in account.items()})

    def _accounts(self) -> list[dict[str, Any]]:
        accounts = self.config.accounts
        if accounts is None:
            accounts = [{**_SECRET_ACCOUNT, "UserName": self._config.client_id}]
        # So a secret that is rotated in the tenant is rotated here, unless an account has a password of its own.
        common = {"Content": self._config.client_secret, "Folder": "Root", "PasswordChangeInProcess": False}
        return [{**common, **item} for item in accounts]


def _fits(account: Mapping[str, Any], criteria: Mapping[str, str], is_regexp: bool) -> bool:
    for name, wanted in criteria.items():
        value = str(account.get(name) or "")
        fits = re.fullmatch(wanted, value, re.IGNORECASE) if is_regexp else wanted.lower() == value.lower()
        if not fits:
            return False
    return True


def _serial_number(request: Request) -> str:
    if not request.client_certificate:
        return ""
    # Not at the top: see __init__.py.
    from cryptography import x509

    return f"{x509.load_der_x509_certificate(request.client_certificate).serial_number:x}"
