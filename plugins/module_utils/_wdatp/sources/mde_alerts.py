# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Defender for Endpoint: GET /api/alerts.

Sources: learn.microsoft.com/defender-endpoint/api/get-alerts ($top at most 10,000, $skip, $expand=evidence, 100
requests a minute and 1,500 an hour; $orderby is not listed, the newest come first), .../exposed-apis-odata-samples
(what can be filtered), .../alerts (fields). With $top there is no next link
(github.com/MicrosoftDocs/microsoft-365-docs/issues/8489).
"""

from __future__ import annotations

from ..page import Columns, Fields, short_text
from .base import Filter, ODataSource, Retirement

_SEVERITIES = {
    "unknown": "UnSpecified",
    "unspecified": "UnSpecified",
    "informational": "Informational",
    "low": "Low",
    "medium": "Medium",
    "high": "High",
}
_STATUSES = {"unknown": "Unknown", "new": "New", "inProgress": "InProgress", "resolved": "Resolved"}


class MdeAlerts(ODataSource):
    name = "mde_alerts"
    path = "/api/alerts"
    roles = ("Alert.Read.All", "Alert.ReadWrite.All")
    resource_name = "WindowsDefenderATP"
    page_limit = 10_000
    # Larger pages only cost memory: a slice of time is asked for until it fits.
    page_default = 2_000
    skip_limit = None
    rate = (100, 1500)
    time_field = "lastUpdateTime"
    created_field = "alertCreationTime"
    expand_field = "evidence"
    retirement = Retirement(
        "Microsoft's message MC1220762 says that the Defender for Endpoint API stops working after 2027-02-01",
        "graph_alerts",
    )
    filters = {
        "severity": Filter("severity", _SEVERITIES),
        "status": Filter("status", _STATUSES),
        "category": Filter("category"),
    }

    def columns(self, fields: Fields) -> Columns:
        get = fields.get
        user = get("relatedUser")
        return Columns(
            short_text(get("severity")),
            short_text(get("title")),
            short_text(get("status")),
            short_text(get("computerDnsName")),
            short_text(user.get("userName")) if isinstance(user, dict) else "",
        )
