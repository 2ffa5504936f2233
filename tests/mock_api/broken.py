# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tenants that are broken, each in another way: fault rules for an estate of many tenants.

The ways differ in what a client that isn't careful pays for them. The first ten are the usual ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# Far longer than any client waits, in seconds.
_FOREVER = 3600
_FORBIDDEN = {
    "error": {
        "code": "Forbidden",
        "message": "Missing application roles. API required roles: SecurityAlert.Read.All, application roles: .",
    }
}

# Name -> (which requests of the tenant, what happens to them).
WAYS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    # Refused for good, at the login and at the API.
    "wrong_secret": ({"leg": "token"}, {"aadsts": 7000215}),
    "unknown_tenant": ({"leg": "token"}, {"aadsts": 90002}),
    "no_consent": ({"leg": "api"}, {"status": 403, "body": _FORBIDDEN}),
    "token_refused": ({"leg": "api"}, {"status": 401}),
    # Worth another try each time, and each time in vain.
    "throttled": ({"leg": "api"}, {"status": 429, "retry_after": 120}),
    "failing": ({"leg": "api"}, {"status": 500}),
    "cut_off": ({"leg": "api"}, {"truncate": 20}),
    # Cost time before anything is known to be wrong.
    "silent": ({"leg": "api"}, {"delay": _FOREVER}),
    "trickling": ({"leg": "api"}, {"drip": 5}),
    # A good answer by its status.
    "sign_in_page": ({"leg": "api"}, {"html_200": True}),
    # More of the kinds above.
    "silent_login": ({"leg": "token"}, {"delay": _FOREVER}),
    "reset": ({"leg": "api"}, {"reset": True}),
    "bad_json": ({"leg": "api"}, {"bad_json": True}),
    # Gives what it has, and says that this isn't all.
    "partial": ({"leg": "api"}, {"status": 206}),
}
TEN = tuple(WAYS)[:10]


def broken(tenants: dict[str, str]) -> list[dict[str, Any]]:
    """The fault script for these tenants: id -> the name of a way."""
    return [{"match": {**WAYS[way][0], "tenant": tenant_id}, "do": WAYS[way][1]} for tenant_id, way in tenants.items()]


def poisoned(tenant_id: str, alert_id: str) -> dict[str, Any]:
    """A rule by which this alert makes each page fail that holds it."""
    return {"match": {"leg": "api", "tenant": tenant_id}, "do": {"poison": alert_id}}


def ten_broken(tenant_ids: Sequence[str]) -> dict[str, str]:
    """Ten of these tenants, evenly among them, each with its way."""
    step = max(1, len(tenant_ids) // len(TEN))
    return dict(zip(tenant_ids[step // 2 :: step], TEN))
