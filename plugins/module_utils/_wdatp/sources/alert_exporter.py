# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The legacy SIEM API ("alert exporter"): GET /api/alerts on wdatp-alertexporter-*.

Source: Microsoft's former page "Pull detections to your SIEM tools using the REST API" (in the public history of
MicrosoftDocs/microsoft-365-docs, microsoft-365/security/defender-endpoint/pull-alerts-using-rest-api.md): parameters
sinceTimeUtc, untilTimeUtc and limit (which keeps the most recent), a bare array in no promised order, no paging. One
alert may give several rows, each with a FullId of its own. Whether the bounds are included is not documented, so the
query is a little wider than the span, and rows outside it are left to the neighbouring span.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from ..page import SHORT, Columns, Fields, text_of
from ..times import SECOND
from .base import Filter, Params, Retirement, Source, Span

_MILLISECOND = SECOND // 1000
_SEVERITIES = {
    "unknown": "UnSpecified",
    "unspecified": "UnSpecified",
    "informational": "Informational",
    "low": "Low",
    "medium": "Medium",
    "high": "High",
}


class AlertExporter(Source):
    name = "alert_exporter"
    path = "/api/alerts"
    # Access comes with the portal's SIEM page, not with a role.
    roles = ()
    resource_name = "the Defender portal's SIEM integration"
    time_field = "LastProcessedTimeUtc"
    # No maximum is documented; this bounds the memory that one answer takes.
    page_limit = 10_000
    page_default = 2_000
    keeps_newest = True
    grain = _MILLISECOND
    retirement = Retirement(
        "Microsoft deprecated the SIEM API on 2023-12-31 and may switch it off without notice since 2024-12-31",
        "graph_alerts",
    )
    filters = {
        "severity": Filter("Severity", _SEVERITIES, is_local=True),
        "category": Filter("Category", is_local=True),
    }

    def params(self, span: Span, top: int, skip: int = 0, extra: Sequence[str] = ()) -> Params:
        return [*self._range(span), ("limit", str(top))]

    def newest_params(self, span: Span, top: int) -> Params:
        return self.params(span, top)

    def everything_params(self, span: Span) -> Params | None:
        return self._range(span)

    def _range(self, span: Span) -> Params:
        """The span in whole milliseconds, wide enough for bounds that may be excluded."""
        found = [("sinceTimeUtc", _milliseconds(span.low - _MILLISECOND))]
        if span.high is not None:
            found.append(("untilTimeUtc", _milliseconds(span.high + _MILLISECOND)))
        return found

    def identify(self, fields: Fields) -> tuple[str, str]:
        """FullId names one row; where it is missing, the alert's id, indicator and part stand in for it."""
        event_id = _field(fields, "FullId") or ":".join(
            filter(None, (_field(fields, name) for name in ("AlertId", "IocUniqueId", "AlertPart")))
        )
        return event_id, _field(fields, self.time_field)

    def columns(self, fields: Fields) -> Columns:
        """A row is a detection: it has no status."""
        machine = _field(fields, "ComputerDnsName") or _field(fields, "MachineName")
        return Columns(
            _field(fields, "Severity")[:SHORT],
            _field(fields, "AlertTitle")[:SHORT],
            "",
            machine[:SHORT],
            _field(fields, "UserName")[:SHORT],
        )


def _field(fields: Fields, name: str) -> str:
    """A field's text; the API's pages spell some names in two ways, so case does not count."""
    if name in fields:
        return text_of(fields[name])
    wanted = name.lower()
    return next((text_of(value) for key, value in fields.items() if key.lower() == wanted), "")


def _milliseconds(ticks: int) -> str:
    """UTC without a zone letter, three digits of fraction, cut off: the form of the page's own example."""
    seconds, rest = divmod(ticks, SECOND)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest // _MILLISECOND:03d}"
