# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Microsoft Graph: GET /v1.0/security/alerts_v2.

Sources: learn.microsoft.com/graph/api/security-list-alerts_v2 (parameters, permissions),
.../resources/security-error-codes ($top at most 1000, $skip at most 500), .../throttling-limits (150 requests a
minute), .../resources/security-alert (the Prefer header for unknown enum members). That $top above 1000 is clamped,
that $orderby is honoured and that a next link is often missing was seen in production by others
(github.com/elastic/integrations/issues/20234).
"""

from __future__ import annotations

from ..page import Columns, Fields, short_text
from .base import Filter, ODataSource, device_and_account

GRAPH_HEADERS = {"Prefer": "include-unknown-enum-members"}
GRAPH_SEVERITIES = {name: name for name in ("unknown", "informational", "low", "medium", "high")}


class GraphAlerts(ODataSource):
    name = "graph_alerts"
    path = "/v1.0/security/alerts_v2"
    roles = ("SecurityAlert.Read.All", "SecurityAlert.ReadWrite.All")
    resource_name = "Microsoft Graph"
    headers = GRAPH_HEADERS
    page_limit = 1000
    page_default = 1000
    skip_limit = 500
    is_ordered = True
    rate = (150, 0)
    time_field = "lastUpdateDateTime"
    created_field = "createdDateTime"
    filters = {
        "severity": Filter("severity", GRAPH_SEVERITIES),
        "status": Filter("status", {name: name for name in ("unknown", "new", "inProgress", "resolved")}),
        # Not among the properties that the API can filter by.
        "category": Filter("category", is_local=True),
    }

    def columns(self, fields: Fields) -> Columns:
        get = fields.get
        device, account = device_and_account(get("evidence"))
        return Columns(
            short_text(get("severity")),
            short_text(get("title")),
            short_text(get("status")),
            short_text(device),
            short_text(account),
        )
