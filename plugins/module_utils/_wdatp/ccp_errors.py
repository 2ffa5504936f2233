# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the errors of CyberArk's Central Credential Provider (CCP) mean, and what to change. One table: code -> kind,
meaning, remedy.

Sources: docs.cyberark.com, Credential Providers, "Call the Central Credential Provider Web Service using REST" (the
codes by HTTP status) and "Credential Providers error messages". They only choose the words: a code that is not here
gets CyberArk's own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import VaultError

_CODE = re.compile(r"\b(?:APPAP|AIMWS|CASVL)\d{3}[A-Z]\b")
_LONGEST_TEXT = 400


@dataclass(frozen=True)
class Meaning:
    """`is_passing`: another try, within seconds, may help."""

    kind: str
    meaning: str
    remedy: str
    is_passing: bool = False


_QUERY = Meaning(
    "bad_query",
    "it does not take the query",
    "In the cyberark option, check query (Safe=...;Object=...) and the names: CyberArk does not promise that it takes"
    " + & and % in them.",
)
_AMBIGUOUS = Meaning(
    "ambiguous",
    "several accounts fit",
    "Narrow the cyberark option down to one account: give object, or username and address together with safe.",
)
_VAULT = Meaning(
    "vault_unreachable",
    "CCP has no connection to the vault",
    "It passes by itself, or the vault's administrators have to look at the CCP server.",
    is_passing=True,
)
_APPLICATION = Meaning(
    "not_authenticated",
    "CCP did not accept this host as the application",
    "In CyberArk, under Applications > the application > Authentication or Allowed machines, register what the text"
    " names: the client certificate's serial number or subject, or this host's address (behind a load balancer, CCP may"
    " see the balancer's).",
)
_UNKNOWN_APPLICATION = Meaning(
    "unknown_application",
    "the vault does not know this application, or CCP's own user",
    "Check app_id letter by letter; in CyberArk, under Applications, it has to exist.",
)
_NOT_FOUND = Meaning(
    "not_found",
    "there is no such account, or the application may not see it",
    "The application itself was accepted. Check safe, folder, object and the others; then, in CyberArk, that the"
    " application and CCP's user (Prov_...) are members of the safe with Retrieve accounts.",
)
_NO_ACCESS = Meaning(
    "no_access",
    "the application may not use this account",
    "In CyberArk, make the application a member of the safe, with the permission Retrieve accounts.",
)
_CHANGING = Meaning(
    "changing",
    "the account's password is being changed at this moment",
    "Run again in a minute, or leave out fail_request_on_password_change to get the old one until then.",
    is_passing=True,
)

MEANINGS: dict[str, Meaning] = {
    "AIMWS031E": Meaning(
        "no_app_id",
        "no AppID arrived",
        "Check that nothing between here and CCP takes the query out of the address.",
    ),
    "AIMWS030E": _QUERY,
    "APPAP081E": _QUERY,
    "CASVL010E": _QUERY,
    "APPAP227E": _AMBIGUOUS,
    "APPAP228E": _AMBIGUOUS,
    "APPAP229E": _AMBIGUOUS,
    "APPAP230E": _AMBIGUOUS,
    "APPAP251E": _AMBIGUOUS,
    "APPAP007E": _VAULT,
    "APPAP096W": _VAULT,
    "APPAP289E": _VAULT,
    "APPAP291E": _VAULT,
    "APPAP292E": _VAULT,
    "APPAP297E": _VAULT,
    "APPAP133E": _APPLICATION,
    "APPAP306E": _APPLICATION,
    "APPAP008E": _UNKNOWN_APPLICATION,
    "APPAP004E": _NOT_FOUND,
    "APPAP249E": _NOT_FOUND,
    "APPAP324E": _NOT_FOUND,
    "APPAP087E": _NO_ACCESS,
    "APPAP132E": _NO_ACCESS,
    "APPAP282E": _CHANGING,
    "APPAP286E": _CHANGING,
}
_UNKNOWN = Meaning("failed", "it refused", "Ask the vault's administrators, with this message.")

# An answer that CCP itself did not give: by its HTTP status, what the web server in front of it means.
_WEB_SERVER: dict[int, Meaning] = {
    401: Meaning(
        "windows_login",
        "this web service wants a Windows login",
        "Set webservice_id to a web service of CCP that tells applications by certificate or address.",
    ),
    403: Meaning(
        "certificate_refused",
        "the web server refused the request before CCP saw it, most likely over the client certificate",
        "Set client_cert and client_key to a certificate whose CA the web server trusts; with a load balancer in"
        " between, TLS must not end there.",
    ),
    404: Meaning(
        "no_service",
        "there is no such web service",
        "Check url and webservice_id: the web service got its name when CCP was installed.",
    ),
    500: Meaning(
        "unavailable",
        "the web server failed",
        "Run again later; if it lasts, the CCP server's own event log and IIS log tell more.",
    ),
}
_NOT_CCP = Meaning(
    "not_ccp",
    "that is no answer of CCP",
    "Check url and webservice_id; a login page or a load balancer's page in between looks like this, too.",
)


def refused(place: str, code: str, text: str) -> VaultError:
    """An error body of CCP, in words. `text`: its own message, in which the cause may be a code of its own."""
    codes = [code, *_CODE.findall(text)]
    # The innermost that is known is the cause: APPAP306E says "Reason: APPAP133E ...".
    known = next((item for item in reversed(codes) if item in MEANINGS), code)
    found = MEANINGS.get(known, _UNKNOWN)
    named = code if known == code else f"{code}, {known}"
    said = "".join(letter if letter.isprintable() else " " for letter in text)[:_LONGEST_TEXT].strip()
    return _error(
        found, f"{place} gave no secret ({named}): {found.meaning}" + (f'. It says: "{said}"' if said else "")
    )


def not_from_ccp(place: str, status: int, what: str) -> VaultError:
    """An answer without an account and without a code. `what`: what it is instead."""
    found = _WEB_SERVER.get(500 if status >= 500 else status, _NOT_CCP)
    return _error(found, f"{place} answered {status} with {what}: {found.meaning}")


def _error(found: Meaning, message: str) -> VaultError:
    return VaultError(
        f"CyberArk CCP: {message}.", found.remedy, code=f"cyberark.{found.kind}", is_passing=found.is_passing
    )
