# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Microsoft Graph: GET /v1.0/security/incidents, with their alerts inside where `expand` is set.

Sources: learn.microsoft.com/graph/api/security-list-incidents (parameters, permissions),
.../resources/security-incident. $top above 50 is refused (github.com/wazuh/wazuh/issues/28070); expanding alerts can
fail for incidents with very many of them (github.com/elastic/integrations/issues/18144), so it can be switched off.
"""

from __future__ import annotations

from ..page import Columns, Fields, short_text
from .base import Filter, ODataSource, device_and_account
from .graph_alerts import GRAPH_HEADERS, GRAPH_SEVERITIES

_STATUSES = ("active", "inProgress", "resolved", "redirected", "awaitingAction")


class GraphIncidents(ODataSource):
    name = "graph_incidents"
    path = "/v1.0/security/incidents"
    roles = ("SecurityIncident.Read.All", "SecurityIncident.ReadWrite.All")
    resource_name = "Microsoft Graph"
    headers = GRAPH_HEADERS
    page_limit = 50
    page_default = 50
    skip_limit = None
    is_ordered = True
    time_field = "lastUpdateDateTime"
    created_field = "createdDateTime"
    expand_field = "alerts"
    filters = {
        "severity": Filter("severity", GRAPH_SEVERITIES),
        "status": Filter("status", {name: name for name in _STATUSES}),
    }

    def columns(self, fields: Fields) -> Columns:
        """An incident names no device and no account; the first ones of its alerts stand for them."""
        get = fields.get
        alerts = get("alerts")
        device = account = None
        for alert in alerts if isinstance(alerts, list) else ():
            if isinstance(alert, dict):
                device, account = device_and_account(alert.get("evidence"), device, account)
                if device and account:
                    break
        return Columns(
            short_text(get("severity")),
            short_text(get("displayName")),
            short_text(get("status")),
            short_text(device),
            short_text(account),
        )
