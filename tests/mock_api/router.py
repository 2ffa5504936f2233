# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which part of the mock answers: by path, and where two APIs share one, by the Host header or the token."""

from __future__ import annotations

import re

from .access import Access
from .control import PREFIX, Control
from .entra import Entra
from .exporter import Exporter
from .faults import Fault, Faults, answer_with_faults
from .graph import Graph
from .mde import Mde
from .messages import Request, Response, json_response
from .pages import compress
from .tokens import TokenError

# What is served under Microsoft's own names, which a client reaches through a proxy or a changed hosts file. Under any
# other name, 127.0.0.1 for one, everything is.
_HOSTS = (
    (re.compile(r"login\.|sts\.windows\.net"), ("token", "discovery")),
    (re.compile(r"(dod-)?graph\.microsoft\."), ("graph_alerts", "graph_incidents")),
    (re.compile(r"wdatp-alertexporter-"), ("alert_exporter",)),
    (re.compile(r"(\w+\.)?api(-\w+)?\.security(center)?\.(microsoft|windows)\."), ("mde_alerts",)),
)
_API_ALERTS = re.compile(r"/api/(?:v1\.0/)?alerts(?:/(?P<id>[^/]+))?/?", re.IGNORECASE)
_EXPORTER_ONLY = frozenset(("sincetimeutc", "untiltimeutc", "ago", "limit", "machinegroups"))


class Router:
    def __init__(
        self, entra: Entra, graph: Graph, mde: Mde, exporter: Exporter, access: Access, faults: Faults, control: Control
    ) -> None:
        self.entra = entra
        self.graph = graph
        self.mde = mde
        self.exporter = exporter
        self.access = access
        self.faults = faults
        self.control = control

    def answer(self, request: Request) -> tuple[Response, Fault | None]:
        if request.path.startswith(PREFIX):
            request.leg = "control"
            return self.control.handle(request), None
        request.leg = leg = self._leg(request)
        request.tenant_id = self._tenant(request)
        response, fault = answer_with_faults(self.faults, request, leg, lambda asked: self._route(asked, leg))
        return compress(request, response, self.access.config.gzip), fault

    def _leg(self, request: Request) -> str:
        host = request.header("Host").lower()
        served = next((legs for pattern, legs in _HOSTS if pattern.match(host)), None)
        leg = self.entra.leg_of(request.path) or self.graph.api_of(request.path)
        if leg is None and _API_ALERTS.fullmatch(request.path):
            is_exporter = "alert_exporter" in served if served else self._is_exporter(request)
            leg = "alert_exporter" if is_exporter else "mde_alerts"
        return leg if leg and (served is None or leg in served) else "unknown"

    def _tenant(self, request: Request) -> str:
        """Whose tenant is meant, for the log and the faults; whether the caller may see it is decided later."""
        if request.leg in ("token", "discovery"):
            return self.entra.tenants.get(request.path.split("/")[1].lower(), "")
        try:
            return str(self.access.claims(request).get("tid", "")).lower()
        except TokenError:
            return ""

    def _is_exporter(self, request: Request) -> bool:
        """Two APIs share this path. Without Microsoft's names, the token tells them apart, or the parameters do."""
        try:
            return self.access.kind(self.access.claims(request)) == "exporter"
        except TokenError:
            return bool(_EXPORTER_ONLY & {name.lower() for name in request.query})

    def _route(self, request: Request, leg: str) -> Response:
        if leg in ("token", "discovery"):
            found = self.entra.handle(request)
            if found is not None:
                return found
        if leg in ("graph_alerts", "graph_incidents"):
            return self.graph.handle(request)
        match = _API_ALERTS.fullmatch(request.path)
        if leg == "alert_exporter":
            return self.exporter.handle(request)
        if leg == "mde_alerts" and match:
            return self.mde.handle(request, match["id"])
        message = f"Resource not found for the segment '{request.path.rsplit('/', 1)[-1]}'."
        return json_response({"error": {"code": "ResourceNotFound", "message": message}}, 404)
