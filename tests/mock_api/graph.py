# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Microsoft Graph: /v1.0/security/alerts_v2 and /v1.0/security/incidents."""

from __future__ import annotations

import re
from typing import Any

from .access import Access
from .clock import time_text
from .config import TenantConfig
from .dataset import STATUSES, Dataset
from .listing import ListOptions, ODataList
from .messages import ODATA_TYPE, ApiError, Request, Response, json_response
from .odata import Field
from .tokens import TokenError

_ALERTS = re.compile(r"/v1\.0/security/alerts_v2(?:/(?P<id>[^/]+))?/?")
_INCIDENTS = re.compile(r"/v1\.0/security/incidents(?:/(?P<id>[^/]+)(?P<alerts>/alerts)?)?/?")
_METADATA = "https://graph.microsoft.com/v1.0/$metadata#"
_UNAUTHORIZED = {
    "missing": "Access token is empty.",
    "malformed": "IDX14100: JWT is not well formed, there are no dots (.).\nThe token needs to be in JWS or JWE "
    "Compact Serialization Format.",
    "signature": "Access token validation failure. Invalid signature.",
    "expired": "Lifetime validation failed, the token is expired.",
    "early": "Lifetime validation failed, the token is not yet valid.",
    "audience": "Access token validation failure. Invalid audience.",
}
_ALERT_ROLES = ("SecurityAlert.Read.All", "SecurityAlert.ReadWrite.All")
_INCIDENT_ROLES = ("SecurityIncident.Read.All", "SecurityIncident.ReadWrite.All")


def _members(*names: str) -> frozenset[str]:
    return frozenset(name.lower() for name in (*names, "unknownFutureValue"))


_SEVERITIES = _members("unknown", "informational", "low", "medium", "high")
_CLASSES = _members("unknown", "falsePositive", "truePositive", "informationalExpectedActivity")
_DETERMINATIONS = _members(
    *("unknown apt malware securityPersonnel securityTesting unwantedSoftware other multiStagedAttack").split(),
    *("compromisedAccount compromisedUser phishing maliciousUserActivity clean notMalicious insufficientData").split(),
    *("notEnoughDataToValidate confirmedUserActivity confirmedActivity lineOfBusinessApplication").split(),
)
_SERVICES = _members(
    *("unknown microsoftDefenderForEndpoint microsoftDefenderForIdentity microsoftDefenderForCloudApps").split(),
    *("microsoftDefenderForOffice365 microsoft365Defender azureAdIdentityProtection microsoftAppGovernance").split(),
    *("dataLossPrevention microsoftDefenderForCloud microsoftSentinel").split(),
)


class Graph:
    def __init__(self, config: TenantConfig, access: Access) -> None:
        self.config = config
        self.access = access

    def api_of(self, path: str) -> str | None:
        if _ALERTS.fullmatch(path):
            return "graph_alerts"
        return "graph_incidents" if _INCIDENTS.fullmatch(path) else None

    def handle(self, request: Request) -> Response:
        try:
            if request.method != "GET":
                raise ApiError(
                    405, "Request_BadRequest", "Specified HTTP method is not allowed for the request target."
                )
            return self._answer(request)
        except TokenError as error:
            return self._unauthorized(request, error.kind)
        except ApiError as error:
            return self.error(request, error)

    def error(self, request: Request, error: ApiError) -> Response:
        # The limits of $top and $skip come with an empty code, unlike all else.
        code = {"TopLimit": "", "SkipLimit": "", "ODataFilter": "BadRequest", "ODataQuery": "BadRequest"}.get(
            error.code, error.code
        )
        return self._error_body(request, error.status, code, str(error), error.headers)

    def _unauthorized(self, request: Request, kind: str) -> Response:
        headers = {
            "WWW-Authenticate": 'Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/'
            'authorize", client_id="00000003-0000-0000-c000-000000000000"'
        }
        return self._error_body(request, 401, "InvalidAuthenticationToken", _UNAUTHORIZED[kind], headers)

    def _error_body(self, request: Request, status: int, code: str, message: str, headers: dict[str, str]) -> Response:
        inner = {
            "date": time_text(self.access.clock.ticks() // 10**7 * 10**7).rstrip("Z"),
            "request-id": request.request_id,
            "client-request-id": request.header("client-request-id") or request.request_id,
        }
        response = json_response({"error": {"code": code, "message": message, "innerError": inner}}, status)
        response.headers.update(headers)
        return response

    def _answer(self, request: Request) -> Response:
        alerts = _ALERTS.fullmatch(request.path)
        incidents = _INCIDENTS.fullmatch(request.path)
        dataset = self.access.enter(request, ("graph",), _ALERT_ROLES if alerts else _INCIDENT_ROLES)
        new_members = "include-unknown-enum-members" in request.header("Prefer").lower()
        request.note["unknown_members"] = new_members
        with dataset.lock:
            if alerts and alerts["id"]:
                return self._one_alert(dataset, alerts["id"], new_members)
            pages = self.access.pages
            if alerts:
                return pages.answer(request, dataset, lambda: self._alerts(request, dataset, new_members))
            if incidents and incidents["id"]:
                return self._one_incident(request, dataset, incidents["id"], bool(incidents["alerts"]), new_members)
            return pages.answer(request, dataset, lambda: self._incidents(request, dataset, new_members))

    def _list(self, api: str, **options: Any) -> ODataList:
        limit = self.config.page_limits[api]
        allowed = {"$filter", "$top", "$skip", "$count", "$orderby", "$skiptoken", *options.pop("more", ())}
        listing = ListOptions(
            allowed=frozenset(allowed),
            default_top=limit,
            top_limit=limit,
            skip_limit=self.config.skip_limits.get(api),
            **options,
        )
        return ODataList(listing, self.config)

    # --- alerts ----------------------------------------------------------------------------------------------------

    def _alerts(self, request: Request, dataset: Dataset, new_members: bool) -> Response:
        listing = self._list(
            "graph_alerts",
            fields=_alert_fields(dataset),
            orders={
                "lastUpdateDateTime": None,
                "createdDateTime": lambda entry: (dataset.created(entry[1]), entry[1]),
            },
            context=_METADATA + "security/alerts_v2",
            layout=dataset.options.layout,
            clamp_top=True,
        )
        return listing.page(
            request, dataset.alerts, lambda entry: dataset.alert_bytes("graph_alerts", entry, new_members)
        )

    def _one_alert(self, dataset: Dataset, alert_id: str, new_members: bool) -> Response:
        number = dataset.find_alert(alert_id)
        if number is None:
            raise ApiError(404, "NotFound", f"Alert '{alert_id}' was not found.")
        body = dataset.alert_bytes("graph_alerts", (dataset.alerts.ticks(number), number), new_members)
        return _single(_METADATA + "security/alerts_v2/$entity", body)

    # --- incidents -------------------------------------------------------------------------------------------------

    def _expand(self, request: Request) -> bool:
        wanted = next((values[-1] for key, values in request.query.items() if key.lower() == "$expand"), None)
        if wanted not in (None, "alerts"):
            raise ApiError(400, "BadRequest", f"Could not find a property named '{wanted}' to expand.")
        return wanted is not None

    def _incidents(self, request: Request, dataset: Dataset, new_members: bool) -> Response:
        expand = self._expand(request)
        listing = self._list(
            "graph_incidents",
            fields=_incident_fields(dataset),
            orders={
                "lastUpdateDateTime": None,
                "createdDateTime": lambda entry: (dataset.incident_created(entry[1]), entry[1]),
            },
            context=_METADATA + "security/incidents",
            layout=dataset.options.layout,
            clamp_top=False,
            more=("$expand",),
        )
        return listing.page(
            request, dataset.incidents, lambda entry: dataset.incident_bytes(entry, expand, new_members)
        )

    def _one_incident(
        self, request: Request, dataset: Dataset, incident_id: str, alerts: bool, new_members: bool
    ) -> Response:
        number = dataset.find_incident(incident_id)
        if number is None:
            raise ApiError(404, "NotFound", f"Incident '{incident_id}' was not found.")
        if alerts:
            return self._incident_alerts(dataset, number, new_members)
        entry = (dataset.incidents.ticks(number), number)
        body = dataset.incident_bytes(entry, self._expand(request), new_members)
        return _single(_METADATA + "security/incidents/$entity", body)

    def _incident_alerts(self, dataset: Dataset, incident: int, new_members: bool) -> Response:
        rows = [
            dataset.alert_bytes("graph_alerts", (dataset.alerts.ticks(number), number), new_members)
            for number in dataset.members(incident)
        ]
        body = b'{"value":[' + b",".join(rows) + b"]}"
        return Response(200, body, {"Content-Type": ODATA_TYPE})


def _single(context: str, body: bytes) -> Response:
    content = b'{"@odata.context":"' + context.encode() + b'",' + body.lstrip()[1:].lstrip()
    return Response(200, content, {"Content-Type": ODATA_TYPE})


def _lower(value: str | None) -> str | None:
    return None if value is None else value.lower()


def _alert_fields(dataset: Dataset) -> dict[str, Field]:
    return {
        "lastUpdateDateTime": Field("time", lambda number, ticks: ticks, indexed=True),
        "createdDateTime": Field("time", lambda number, ticks: dataset.created(number)),
        "severity": Field("enum", lambda number, ticks: dataset.severity(number), _SEVERITIES),
        "status": Field("enum", lambda number, ticks: dataset.status(number).lower(), _members("unknown", *STATUSES)),
        "classification": Field("enum", lambda number, ticks: _lower(dataset.classification(number)), _CLASSES),
        "determination": Field("enum", lambda number, ticks: _lower(dataset.determination(number)), _DETERMINATIONS),
        "serviceSource": Field("enum", lambda number, ticks: dataset.story(number).service.lower(), _SERVICES),
        "assignedTo": Field("text", lambda number, ticks: dataset.assigned_text(number)),
    }


def _incident_fields(dataset: Dataset) -> dict[str, Field]:
    states = _members("active", "resolved", "inProgress", "redirected", "awaitingAction")
    return {
        "lastUpdateDateTime": Field("time", lambda number, ticks: ticks, indexed=True),
        "createdDateTime": Field("time", lambda number, ticks: dataset.incident_created(number)),
        "severity": Field("enum", lambda number, ticks: dataset.incident_severity(number), _SEVERITIES),
        "status": Field("enum", lambda number, ticks: dataset.incident_status(number).lower(), states),
        "classification": Field("enum", lambda number, ticks: "unknown", _CLASSES),
        "determination": Field("enum", lambda number, ticks: "unknown", _DETERMINATIONS),
        "assignedTo": Field("text", lambda number, ticks: dataset.assigned_text(dataset.members(number)[0])),
    }
