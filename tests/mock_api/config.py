# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every knob of the mock tenant. Those under `data` shape the alerts; the rest may change while it runs."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, fields
from typing import Any

from .dataset import DataOptions

_NAMESPACE = uuid.UUID("6d6f636b-0000-4000-8000-74656e616e74")
DATA_KNOBS = frozenset(item.name for item in fields(DataOptions))
# Roles that an app registration needs, by kind of resource.
DEFAULT_ROLES = {
    "graph": ["SecurityAlert.Read.All", "SecurityIncident.Read.All"],
    "mde": ["Alert.Read.All"],
    "xdr": ["Incident.Read.All"],
    "exporter": [],
}
# Calls a minute, calls an hour, for each app and tenant; 0 means no limit.
RATE_LIMITS = {"graph": (150, 0), "mde": (100, 1500), "exporter": (0, 0)}


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
    roles: dict[str, list[str]] = field(default_factory=lambda: {key: list(value) for key, value in DEFAULT_ROLES.items()})
    missing_resources: list[str] = field(default_factory=list)
    resources: dict[str, str] = field(default_factory=dict)
    token_lifetime: int = 3599
    # --- how it answers
    links: str = "on"
    link_style: str = "position"
    link_last: bool = False
    mde_orderby: str = "ignored"
    page_limits: dict[str, int] = field(
        default_factory=lambda: {"graph_alerts": 1000, "graph_incidents": 50, "mde_alerts": 10_000}
    )
    skip_limits: dict[str, int] = field(default_factory=lambda: {"graph_alerts": 500})
    shuffle_exporter: bool = True
    gzip: bool = True
    clock_skew_seconds: float = 0.0
    rate_limits: bool | dict[str, list[int]] = False
    cache_pages: int = 64
    faults: list[dict[str, Any]] = field(default_factory=list)
    keep_requests: int = 100_000

    def __post_init__(self) -> None:
        self.tenant_id = self.tenant_id or str(uuid.uuid5(_NAMESPACE, f"tenant {self.seed}"))
        self.client_id = self.client_id or str(uuid.uuid5(_NAMESPACE, f"client {self.seed}"))
        self.client_secret = self.client_secret or f"mock8Q~{uuid.uuid5(_NAMESPACE, f'secret {self.seed}').hex}.-"

    def all_secrets(self) -> list[str]:
        return [self.client_secret, *self.secrets]

    def secret_id(self, secret: str) -> str:
        """Entra ID gives each secret an id; users paste it in place of the value."""
        return str(uuid.uuid5(_NAMESPACE, f"id of {secret}"))

    def data_options(self) -> list[DataOptions]:
        """One entry a tenant; the first is the tenant of `tenant_id`."""
        common = {name: getattr(self, name) for name in DATA_KNOBS}
        if isinstance(self.tenants, int):
            others: list[dict[str, Any]] = [{} for _number in range(self.tenants - 1)]
            given = [{}, *others]
        else:
            given = self.tenants
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
        """Set knobs by name; True where the data has to be made anew."""
        known = {item.name for item in fields(self)}
        unknown = sorted(set(changes) - known)
        if unknown:
            raise ValueError(f"unknown knobs: {', '.join(unknown)}; known are {', '.join(sorted(known))}")
        for name, value in changes.items():
            setattr(self, name, value)
        return bool((DATA_KNOBS | {"tenants"}) & set(changes))
