# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every knob of the mock tenant. docs/mock_tenant.md explains them; a test compares it with this file."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from typing import Any

from .ccp import CcpConfig
from .dataset import DataOptions

_NAMESPACE = uuid.UUID("6d6f636b-0000-4000-8000-74656e616e74")
# These knobs shape the alerts: turning one makes the data anew.
DATA_KNOBS = frozenset(item.name for item in fields(DataOptions))
# These count when the mock starts, and not later.
START_KNOBS = frozenset(("keep_requests",))
# Roles that an app registration needs, by kind of resource.
DEFAULT_ROLES: dict[str, list[str]] = {
    "graph": ["SecurityAlert.Read.All", "SecurityIncident.Read.All"],
    "mde": ["Alert.Read.All"],
    "xdr": ["Incident.Read.All"],
    "exporter": [],
}
PAGE_LIMITS = {"graph_alerts": 1000, "graph_incidents": 50, "mde_alerts": 10_000}
SKIP_LIMITS: dict[str, int | None] = {"graph_alerts": 500, "graph_incidents": None, "mde_alerts": None}
# Calls a minute, calls an hour, for each app and tenant; 0 means no limit.
RATE_LIMITS = {"graph": [150, 0], "mde": [100, 1500], "exporter": [0, 0]}
CHOICES = {
    "links": ("on", "off"),
    "link_style": ("position", "offset"),
    "mde_orderby": ("ignored", "honoured", "refused"),
    "server_certificate": ("good", "expired", "self_signed", "wrong_name"),
}


@dataclass
class TenantConfig:
    # --- data
    alerts: int = 1000
    seed: int = 1
    ties: int | None = None
    big_tie: int = 0
    big_tie_at: float = 0.5
    span: str | float = "24h"
    end: str | None = None
    recent_share: float | None = None
    size: int = 0
    layout: str = "compact"
    incident_size: int = 7
    # --- who
    tenant_id: str = ""
    domain: str = "contoso.example"
    # More tenants that share the app registration: how many in all, or a list of dicts with data knobs.
    tenants: int | list[dict[str, Any]] = 1
    client_id: str = ""
    client_secret: str = ""
    secrets: list[str] = field(default_factory=list)
    expired_secrets: list[str] = field(default_factory=list)
    certificates: list[str] = field(default_factory=list)
    app_disabled: bool = False
    foreign_tenants: list[str] = field(default_factory=list)
    unconsented_tenants: list[str] = field(default_factory=list)
    roles: dict[str, list[str]] = field(default_factory=dict)
    missing_resources: list[str] = field(default_factory=list)
    resources: dict[str, str] = field(default_factory=dict)
    token_lifetime: int = 3599
    # CyberArk's CCP beside the tenant: None for none, else its own knobs.
    ccp: dict[str, Any] | None = None
    # --- how it answers
    links: str = "on"
    link_style: str = "position"
    link_last: bool = False
    mde_orderby: str = "ignored"
    page_limits: dict[str, int] = field(default_factory=dict)
    skip_limits: dict[str, int | None] = field(default_factory=dict)
    shuffle_exporter: bool = True
    gzip: bool = True
    server_certificate: str = "good"
    clock_skew_seconds: float = 0.0
    rate_limits: bool | dict[str, list[int]] = False
    cache_megabytes: int = 256
    faults: list[dict[str, Any]] = field(default_factory=list)
    keep_requests: int = 100_000

    def __post_init__(self) -> None:
        self.tenant_id = self.tenant_id or str(uuid.uuid5(_NAMESPACE, f"tenant {self.seed}"))
        self.client_id = self.client_id or str(uuid.uuid5(_NAMESPACE, f"client {self.seed}"))
        self.client_secret = self.client_secret or f"mock8Q~{uuid.uuid5(_NAMESPACE, f'secret {self.seed}').hex}.-"
        # What a dict leaves out keeps its default.
        self.roles = {**DEFAULT_ROLES, **self.roles}
        self.page_limits = {**PAGE_LIMITS, **self.page_limits}
        self.skip_limits = {**SKIP_LIMITS, **self.skip_limits}
        self._check()

    def _check(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is one of {', '.join(choices)}, not {getattr(self, name)!r}")
        for name, known in (("page_limits", PAGE_LIMITS), ("skip_limits", SKIP_LIMITS), ("rate_limits", RATE_LIMITS)):
            given = getattr(self, name)
            _refuse(set(given if isinstance(given, dict) else ()) - set(known), f"names in {name}", known)
        CcpConfig.read(self.ccp or {})
        ids = [options.tenant_id.lower() for options in self.data_options()]
        if len(set(ids)) < len(ids) or not ids:
            raise ValueError("there must be at least one tenant, and each needs a tenant_id of its own")

    @classmethod
    def read(cls, knobs: dict[str, Any]) -> TenantConfig:
        """A configuration from a file or the command line: ValueError, and a sentence, for what is wrong."""
        _refuse(set(knobs) - _names(), "knobs", _names())
        try:
            return cls(**knobs)
        except TypeError as error:
            raise ValueError(f"a knob has the wrong type: {error}") from error

    def all_secrets(self) -> list[str]:
        return [self.client_secret, *self.secrets]

    def secret_id(self, secret: str) -> str:
        """Entra ID gives each secret an id; users paste it in place of the value."""
        return str(uuid.uuid5(_NAMESPACE, f"id of {secret}"))

    def data_options(self) -> list[DataOptions]:
        """One entry a tenant; the first is the tenant of `tenant_id`."""
        common = {name: getattr(self, name) for name in DATA_KNOBS}
        given = [{}] * self.tenants if isinstance(self.tenants, int) else self.tenants
        for entry in given:
            _refuse(set(entry) - DATA_KNOBS, "knobs of a tenant", DATA_KNOBS)
        return [DataOptions(**{**common, **self._numbered(index), **entry}) for index, entry in enumerate(given)]

    def _numbered(self, index: int) -> dict[str, Any]:
        if index == 0:
            return {}
        return {
            "tenant_id": str(uuid.uuid5(_NAMESPACE, f"tenant {self.seed}/{index}")),
            "domain": f"customer{index}.example",
            "seed": self.seed * 1009 + index,
        }

    def change(self, changes: dict[str, Any]) -> bool:
        """Turn knobs by name, all or (ValueError) none; True where the data has to be made anew."""
        _refuse(set(changes) - _names(), "knobs", _names())
        _refuse(set(changes) & START_KNOBS, "knobs for a running tenant", _names() - START_KNOBS)
        try:
            changed = replace(self, **changes)
        except TypeError as error:
            raise ValueError(f"a knob has the wrong type: {error}") from error
        vars(self).update(vars(changed))
        return bool((DATA_KNOBS | {"tenants"}) & set(changes))


def _names() -> set[str]:
    return {item.name for item in fields(TenantConfig)}


def _refuse(unknown: set[str], what: str, known: Iterable[str]) -> None:
    if unknown:
        raise ValueError(f"unknown {what}: {', '.join(sorted(unknown))}; known are {', '.join(sorted(known))}")
