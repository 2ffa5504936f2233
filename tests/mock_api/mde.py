# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The alerts API of Defender for Endpoint: /api/alerts."""

from __future__ import annotations

from typing import Any

from . import shapes_mde
from .access import Access
from .config import TenantConfig
from .dataset import STATUSES, Dataset
from .listing import ListOptions, ODataList
from .messages import ODATA_TYPE, ApiError, Request, Response, json_response
from .odata import Field
from .tokens import TokenError

_CONTEXT = "https://api.securitycenter.microsoft.com/api/$metadata#Alerts"
_ROLES = ("Alert.Read.All", "Alert.ReadWrite.All")
_ALLOWED = frozenset(("$filter", "$top", "$skip", "$count", "$orderby", "$expand", "$skiptoken"))


class Mde:
    def __init__(self, config: TenantConfig, access: Access) -> None:
        self.config = config
        self.access = access

    def handle(self, request: Request, alert_id: str | None) -> Response:
        try:
            if request.method != "GET":
                raise ApiError(405, "MethodNotAllowed", "The requested resource does not support this http method.")
            dataset = self.access.enter(request, ("mde", "xdr"), _ROLES)
            with dataset.lock:
                if alert_id:
                    return self._one(request, dataset, alert_id)
                return self.access.pages.answer(request, dataset, lambda: self._alerts(request, dataset))
        except TokenError as error:
            return self.error(request, ApiError(401, "Unauthorized", _UNAUTHORIZED.get(error.kind, _INVALID)))
        except ApiError as error:
            return self.error(request, error)

    def error(self, request: Request, error: ApiError) -> Response:
        codes = {"TopLimit": "ODataError", "ODataFilter": "ODataError", "ODataQuery": "ODataError"}
        code = codes.get(error.code, error.code)
        body: dict[str, Any] = {"error": {"code": code, "message": str(error), "target": request.request_id}}
        response = json_response(body, error.status)
        response.headers.update(error.headers)
        return response

    def _expand(self, request: Request) -> bool:
        wanted = next((values[-1] for key, values in request.query.items() if key.lower() == "$expand"), None)
        if wanted not in (None, "evidence"):
            raise ApiError(400, "ODataError", f"Could not find a property named '{wanted}' on type 'Alert'.")
        return wanted is not None

    def _alerts(self, request: Request, dataset: Dataset) -> Response:
        expand = self._expand(request)
        limit = self.config.page_limits["mde_alerts"]
        options = ListOptions(
            fields=_fields(dataset),
            orders={
                "lastUpdateTime": None,
                "alertCreationTime": lambda entry: (dataset.created(entry[1]), entry[1]),
            },
            allowed=_ALLOWED,
            context=_CONTEXT,
            layout=dataset.options.layout,
            default_top=limit,
            top_limit=limit,
            clamp_top=False,
            skip_limit=self.config.skip_limits.get("mde_alerts"),
            ignore_case=True,
            orderby=self.config.mde_orderby,
            no_link_with_top=True,
        )
        listing = ODataList(options, self.config)
        return listing.page(request, dataset.alerts, lambda entry: dataset.alert_bytes("mde_alerts", entry, expand))

    def _one(self, request: Request, dataset: Dataset, alert_id: str) -> Response:
        number = dataset.find_alert(alert_id)
        if number is None:
            raise ApiError(404, "ResourceNotFound", f"Alert {alert_id} was not found")
        entry = (dataset.alerts.ticks(number), number)
        body = dataset.alert_bytes("mde_alerts", entry, self._expand(request))
        content = b'{"@odata.context":"' + _CONTEXT.encode() + b'/$entity",' + body.lstrip()[1:].lstrip()
        return Response(200, content, {"Content-Type": ODATA_TYPE})


_INVALID = "The token is invalid."
_UNAUTHORIZED = {
    "missing": "Missing authorization token.",
    "expired": "The token has expired.",
    "audience": "Invalid audience in the token.",
}


def _lower(value: str | None) -> str | None:
    return None if value is None else value.lower()


def _fields(dataset: Dataset) -> dict[str, Field]:
    severities = frozenset(("unspecified", "informational", "low", "medium", "high"))
    return {
        "lastUpdateTime": Field("time", lambda number, ticks: ticks, indexed=True),
        "alertCreationTime": Field("time", lambda number, ticks: dataset.created(number)),
        "lastEventTime": Field("time", lambda number, ticks: dataset.last_event(number)),
        "incidentId": Field("number", lambda number, ticks: dataset.incident_id(dataset.incident_number(number))),
        "investigationId": Field("number", lambda number, ticks: dataset.investigation(number)),
        "id": Field("text", lambda number, ticks: dataset.alert_id(number)),
        "assignedTo": Field("text", lambda number, ticks: dataset.assigned_text(number)),
        "detectionSource": Field("text", lambda number, ticks: shapes_mde.detection_source(dataset.story(number))),
        "category": Field("text", lambda number, ticks: dataset.story(number).category),
        "severity": Field("enum", lambda number, ticks: _severity(dataset.severity(number)), severities),
        "status": Field(
            "enum",
            lambda number, ticks: dataset.status(number).lower(),
            frozenset(("unknown", *(status.lower() for status in STATUSES))),
        ),
    }


def _severity(value: str) -> str:
    return "unspecified" if value == "unknown" else value
