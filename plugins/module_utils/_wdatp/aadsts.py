# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the errors of Microsoft Entra ID mean, and what to change. One table: AADSTS code -> kind, meaning, remedy.

Source: learn.microsoft.com/entra/identity-platform/reference-error-codes. Microsoft may change codes at any time, so
they only choose the words; a code that is not here gets Microsoft's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from .config import Connection
from .credentials import check_client_id
from .errors import AuthError, WdatpError
from .redact import Redactor

_CODE = re.compile(r"AADSTS(\d+)")


@dataclass(frozen=True)
class Meaning:
    """`meaning` and `remedy` are format strings, see _values. `is_passing`: another try, later, may help."""

    kind: str
    meaning: str
    remedy: str
    is_passing: bool = False


_APP_PAGE = "In the Entra admin center, under App registrations > {client}"
_SECRET = Meaning(
    "invalid_secret",
    "the client secret ({secret}) is wrong",
    _APP_PAGE + " > Certificates & secrets, make a new client secret and copy its Value, which is shown only once.",
)
SECRET_ID = Meaning(
    "secret_id",
    "the client secret ({secret}) is wrong; it looks like a secret's ID, not like its value",
    _APP_PAGE + " > Certificates & secrets, copy the column Value, not Secret ID; if the value is hidden by now,"
    " make a new client secret.",
)
_UNKNOWN_APP = Meaning(
    "unknown_app",
    "this tenant has no app registration {client}",
    "Check client_id and tenant_id against the overview page of the app registration; in a customer's tenant its"
    " administrator has to grant consent to the app first.",
)
_DISABLED = Meaning(
    "app_disabled",
    "the app {client} is disabled in this tenant",
    "In the Entra admin center, under Enterprise applications > {client} > Properties, enable sign-in again.",
)
_UNKNOWN_TENANT = Meaning(
    "unknown_tenant",
    "the cloud {cloud} has no such tenant",
    "Copy the Directory (tenant) ID from the overview page of the app registration; if it is right, the tenant belongs"
    " to another cloud: set cloud.",
)
_WRONG_CLOUD = Meaning(
    "wrong_cloud",
    "this tenant belongs to another cloud than {cloud}",
    "Set cloud to the tenant's own: commercial, gcc, gcc_high or dod.",
)
_CERTIFICATE = Meaning(
    "invalid_certificate",
    "the certificate {certificate} is not one of this app registration's",
    _APP_PAGE + " > Certificates & secrets > Certificates, upload its public part, or set client_certificate_path to"
    " the certificate that is listed there.",
)
_FEDERATED = Meaning(
    "federated",
    "the workload's token ({federated}) fits none of the app registration's federated credentials",
    _APP_PAGE + " > Certificates & secrets > Federated credentials, compare issuer, subject and audience with its.",
)
_ASSERTION = Meaning(
    "invalid_assertion",
    "the signed assertion was refused",
    "Check client_id, tenant_id, the certificate and this host's clock (wdatp_test_connectivity shows it).",
)
_RESOURCE = Meaning(
    "unknown_resource",
    "this tenant does not know the resource {resource}",
    "Check cloud, api and scope; Defender has to be set up in this tenant, which takes a licence.",
)
_NOT_ALLOWED = Meaning(
    "no_consent",
    "the app {client} has no permission for {resource}, or nobody has consented to it",
    _APP_PAGE + " > API permissions, add the application permission and choose Grant admin consent.",
)
_SCOPE = Meaning(
    "invalid_scope",
    "the scope {scope} is not valid",
    "Leave scope out, or give a single resource that ends in /.default.",
)
_REQUEST = Meaning(
    "bad_request",
    "the request lacked something",
    "Check that no proxy changes requests; if it lasts, please report it with this message.",
)
_COMMON = Meaning(
    "common_tenant",
    "an app signs in to one tenant of its own, not to this",
    "Set tenant_id to the tenant's own ID.",
)
_BLOCKED = Meaning(
    "blocked",
    "a Conditional Access policy blocks this app, here",
    "Ask the tenant's administrator to look into the sign-in logs (Service principal sign-ins), and to allow this app"
    " from this host's address.",
)
_RESTRICTED = Meaning(
    "tenant_restrictions",
    "a proxy of this network forbids sign-in to the tenant {tenant} (tenant restrictions)",
    "Ask for the tenant to be allowed on that proxy.",
)
_PASSING = Meaning(
    "unavailable",
    "Microsoft Entra ID is too busy, or has a passing fault",
    "Run again in some minutes.",
    is_passing=True,
)

MEANINGS: dict[int, Meaning] = {
    7000215: _SECRET,
    70002: _SECRET,
    7000222: Meaning(
        "expired_secret",
        "the client secret ({secret}) has expired",
        _APP_PAGE + " > Certificates & secrets, make a new client secret and put its Value in the old one's place.",
    ),
    7000218: Meaning(
        "no_secret",
        "neither a secret nor a certificate arrived",
        "Give client_secret or client_certificate_path; check that no proxy changes requests.",
    ),
    700016: _UNKNOWN_APP,
    700011: _UNKNOWN_APP,
    7000112: _DISABLED,
    70001: _DISABLED,
    90002: _UNKNOWN_TENANT,
    50128: _UNKNOWN_TENANT,
    50059: _UNKNOWN_TENANT,
    90038: _WRONG_CLOUD,
    900382: _WRONG_CLOUD,
    900432: _WRONG_CLOUD,
    700027: _CERTIFICATE,
    700030: _CERTIFICATE,
    50012: _CERTIFICATE,
    700024: Meaning(
        "clock",
        "the signed assertion is not valid at this time: this host's clock and Microsoft's differ",
        "Set this host's clock right (chronyc tracking or timedatectl shows its state).",
    ),
    700229: _FEDERATED,
    700211: _FEDERATED,
    700212: _FEDERATED,
    700213: _FEDERATED,
    700021: _ASSERTION,
    700023: _ASSERTION,
    50027: _ASSERTION,
    700025: Meaning(
        "public_client",
        "the app {client} is registered as a public client, which takes no secret",
        _APP_PAGE + " > Authentication, set Allow public client flows to No, or use an app registration of its own.",
    ),
    500011: _RESOURCE,
    50001: _RESOURCE,
    650052: _RESOURCE,
    650057: _NOT_ALLOWED,
    650056: _NOT_ALLOWED,
    65001: _NOT_ALLOWED,
    70011: _SCOPE,
    28002: _SCOPE,
    1002012: _SCOPE,
    700022: _SCOPE,
    901002: _SCOPE,
    900144: _REQUEST,
    90014: _REQUEST,
    9001023: _COMMON,
    50194: _COMMON,
    53003: _BLOCKED,
    530032: _BLOCKED,
    500021: _RESTRICTED,
    500022: _RESTRICTED,
    50034: Meaning(
        "unknown_user",
        "Microsoft Entra ID looked for a user, and this is an app",
        "Check client_id: it is the Application (client) ID of an app registration.",
    ),
    50196: Meaning(
        "loop",
        "the app {client} asked for the same token too often within a short time",
        "Run less often, or on fewer hosts with this app registration; it passes within some minutes.",
        is_passing=True,
    ),
    90055: _PASSING,
    90012: _PASSING,
    90024: _PASSING,
    90033: _PASSING,
    90006: _PASSING,
}
# Refusals of a secret that a new one may have replaced in the meantime.
STALE_SECRET = [code for code, found in MEANINGS.items() if found.kind in ("invalid_secret", "expired_secret")]
_UNKNOWN = Meaning(
    "failed",
    "",
    "Check tenant_id, client_id, the secret or certificate, and cloud; learn.microsoft.com/entra/identity-platform/"
    "reference-error-codes lists the codes.",
)


def explain(body: Mapping[str, Any], connection: Connection, redactor: Redactor | None = None) -> AuthError:
    """An error body of the token endpoint, in words. `redactor` goes over Microsoft's own text."""
    redactor = redactor or Redactor()
    number, text = code_of(body), str(body.get("error_description") or body.get("error") or "")
    found = _meaning(number, connection)
    if not found.meaning and body.get("error") in ("temporarily_unavailable", "server_error"):
        found = _PASSING
    values = _values(connection)
    said = found.meaning.format_map(values) if found.meaning else _first_sentence(text, redactor)
    name = f"AADSTS{number}" if number else redactor.text(str(body.get("error") or "error"))[:60]
    return AuthError(
        f"Microsoft Entra ID ({values['host']}) gave no token for the tenant {values['tenant']} ({name}): {said}.",
        found.remedy.format_map(values),
        code=f"auth.{found.kind}",
        aadsts=number,
        is_final=not found.is_passing,
    )


def code_of(body: Mapping[str, Any]) -> int:
    """The AADSTS number of an error body; 0 where it has none."""
    codes = body.get("error_codes")
    if isinstance(codes, list) and codes and str(codes[0]).isdigit():
        return int(codes[0])
    match = _CODE.search(str(body.get("error_description") or ""))
    return int(match[1]) if match else 0


def _meaning(number: int, connection: Connection) -> Meaning:
    found = MEANINGS.get(number, _UNKNOWN)
    return SECRET_ID if found is _SECRET and _is_secret_id(connection) else found


def _is_secret_id(connection: Connection) -> bool:
    """Entra ID's secrets never look like a GUID; their IDs always do."""
    if connection.identity.secret is None:
        return False
    try:
        check_client_id(connection.identity.secret.read())
    except WdatpError:
        return False
    return True


def _values(connection: Connection) -> dict[str, str]:
    identity, target = connection.identity, connection.target
    return {
        "tenant": identity.tenant_id,
        "client": identity.client(),
        "cloud": target.cloud,
        "host": urlsplit(target.authority_url).netloc,
        "scope": target.scope,
        "resource": target.scope[: -len("/.default")] if target.scope.endswith("/.default") else target.scope,
        "secret": identity.secret.describe() if identity.secret else "none was given",
        "certificate": identity.certificate_path or "",
        "federated": f"file {identity.federated_token_file}" if identity.federated_token_file else "none was given",
    }


def _first_sentence(text: str, redactor: Redactor) -> str:
    """Microsoft's own words without the code, and without the lines with trace and correlation ids."""
    line = redactor.text((text.splitlines() or [""])[0])
    return re.split(r"(?<=\w)\.\s", _CODE.sub("", line).lstrip(": "))[0].rstrip(". ")[:300] or "no reason was given"
