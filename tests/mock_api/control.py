# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""/_mock/...: what the tests steer the tenant with, and the truth they compare with."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from .dataset import APIS
from .messages import Request, Response, json_response

if TYPE_CHECKING:
    from .tenant import MockTenant

PREFIX = "/_mock/"


class Control:
    def __init__(self, tenant: MockTenant) -> None:
        self.tenant = tenant

    def handle(self, request: Request) -> Response:
        name = f"{request.method} {request.path[len(PREFIX) :].strip('/')}"
        routes: dict[str, Callable[[], Response]] = {
            "GET ready": lambda: json_response(self.tenant.describe()),
            "GET stats": lambda: json_response(self._stats()),
            "GET requests": lambda: json_response(self.tenant.requests),
            "DELETE requests": self._forget_requests,
            "POST alerts": lambda: self._add(_body(request)),
            "POST update": lambda: self._update(_body(request)),
            "GET truth": lambda: self._truth(request),
            "GET faults": lambda: json_response(self.tenant.faults.describe()),
            "PUT faults": lambda: self._set_faults(_body(request)),
            "DELETE faults": lambda: self._set_faults([]),
            "GET config": lambda: json_response(asdict(self.tenant.config)),
            "PUT config": lambda: self._configure(_body(request)),
        }
        if name not in routes:
            return json_response({"error": f"no such control; there are: {', '.join(routes)}"}, 404)
        try:
            return routes[name]()
        except (ValueError, TypeError, KeyError) as error:
            return json_response({"error": f"{type(error).__name__}: {error}"}, 400)

    def _stats(self) -> dict[str, Any]:
        log = self.tenant.requests
        return {
            "requests": len(log),
            "by_leg": dict(Counter(str(entry["leg"]) for entry in log)),
            "by_status": dict(Counter(str(entry["status"]) for entry in log)),
            "tokens": sum(1 for entry in log if entry["leg"] == "token" and entry["status"] == 200),
            "bytes": sum(int(entry["bytes"]) for entry in log),
            "alerts": {dataset.options.tenant_id: len(dataset.alerts) for dataset in self.tenant.datasets.values()},
        }

    def _forget_requests(self) -> Response:
        self.tenant.clear_requests()
        return json_response({"requests": 0})

    def _add(self, body: dict[str, Any]) -> Response:
        return json_response({"ids": self.tenant.add_alerts(int(body.pop("add", 1)), **body)})

    def _update(self, body: dict[str, Any]) -> Response:
        which = body.pop("ids", None) or int(body.pop("n", 1))
        return json_response({"ids": self.tenant.update_alerts(which, **body)})

    def _set_faults(self, rules: list[dict[str, Any]]) -> Response:
        self.tenant.set_faults(rules)
        return json_response({"faults": len(rules)})

    def _configure(self, body: dict[str, Any]) -> Response:
        self.tenant.configure(**body)
        return json_response(asdict(self.tenant.config))

    def _truth(self, request: Request) -> Response:
        def given(name: str) -> str | None:
            return request.query[name][-1] if name in request.query else None

        api = given("api") or "graph_alerts"
        if api not in APIS:
            raise ValueError(f"api is one of {', '.join(APIS)}")
        unknown = given("unknown_members")
        rows = self.tenant.alerts(
            api,
            tenant=given("tenant"),
            expand=given("expand") != "false",
            unknown_members=None if unknown is None else unknown == "true",
        )
        return Response(200, headers={"Content-Type": "application/x-ndjson"}, stream=_lines(rows))


def _lines(rows: Iterator[tuple[str, str, bytes]]) -> Iterator[bytes]:
    block: list[bytes] = []
    for alert_id, time, raw in rows:
        entry = {"id": alert_id, "time": time, "sha256": hashlib.sha256(raw).hexdigest(), "size": len(raw)}
        block.append(json.dumps(entry).encode() + b"\n")
        if len(block) == 500:
            yield b"".join(block)
            block = []
    yield b"".join(block)


def _body(request: Request) -> Any:
    return json.loads(request.body or b"{}")
