# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client that talks to a mock tenant as a collector would."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import requests
from mock_api import MockTenant, TenantConfig

PATHS = {
    "graph_alerts": "/v1.0/security/alerts_v2",
    "graph_incidents": "/v1.0/security/incidents",
    "mde_alerts": "/api/alerts",
    "alert_exporter": "/api/alerts",
}
KINDS = {"graph_alerts": "graph", "graph_incidents": "graph", "mde_alerts": "mde", "alert_exporter": "exporter"}
IDS = {"graph_alerts": "id", "graph_incidents": "id", "mde_alerts": "id", "alert_exporter": "FullId"}
TIMES = {
    "graph_alerts": "lastUpdateDateTime",
    "graph_incidents": "lastUpdateDateTime",
    "mde_alerts": "lastUpdateTime",
    "alert_exporter": "LastProcessedTimeUtc",
}


class Client:
    """One session and one token for each API of one tenant."""

    def __init__(self, tenant: MockTenant, tenant_id: str = "") -> None:
        self.tenant = tenant
        self.tenant_id = tenant_id or tenant.tenant_id
        self.session = requests.Session()
        # The machine's own proxy settings are not what is tested here.
        self.session.trust_env = False

    def headers(self, api: str) -> dict[str, str]:
        token = self.tenant.token(KINDS[api], tenant_id=self.tenant_id)
        return {"Authorization": f"Bearer {token}", "Prefer": "include-unknown-enum-members"}

    def get(self, api: str, query: dict[str, Any] | str = "", **headers: str) -> requests.Response:
        text = query if isinstance(query, str) else urlencode(query)
        url = f"{self.tenant.url}{PATHS[api]}" + (f"?{text}" if text else "")
        return self.fetch(url, {**self.headers(api), **{key.replace("_", "-"): text for key, text in headers.items()}})

    def fetch(self, url: str, headers: dict[str, str]) -> requests.Response:
        return self.session.get(url, headers=headers, verify=self.tenant.ca_path, timeout=30)

    def ids(self, api: str, query: dict[str, Any] | str = "") -> list[str]:
        return [str(row[IDS[api]]) for row in rows(self.get(api, query))]

    def ask_token(self, tenant: str = "", version: str = "v2.0/", **form: str) -> requests.Response:
        known = {
            "grant_type": "client_credentials",
            "client_id": self.tenant.client_id,
            "client_secret": self.tenant.client_secret,
            "scope" if version else "resource": "https://graph.microsoft.com" + ("/.default" if version else ""),
        }
        # An empty value takes a field out.
        body = {key: text for key, text in {**known, **form}.items() if text}
        url = f"{self.tenant.url}/{tenant or self.tenant_id}/oauth2/{version}token"
        return self.session.post(url, data=body, verify=self.tenant.ca_path, timeout=30)


def rows(response: requests.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    value = response.json()
    found: list[dict[str, Any]] = value if isinstance(value, list) else value["value"]
    return found


def raw_rows(response: requests.Response) -> list[tuple[dict[str, Any], bytes]]:
    """Each row with its very bytes."""
    assert response.status_code == 200, response.text
    text = response.content.decode()
    place = text.index('"value":') if text.startswith("{") else 0
    place = text.index("[", place) + 1
    decoder = json.JSONDecoder()
    found: list[tuple[dict[str, Any], bytes]] = []
    while True:
        while text[place] in " \r\n,":
            place += 1
        if text[place] == "]":
            return found
        value, end = decoder.raw_decode(text, place)
        found.append((value, text[place:end].encode()))
        place = end


def error_of(response: requests.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    found: dict[str, Any] = response.json()["error"]
    return found


def serve(**knobs: Any) -> MockTenant:
    return MockTenant(TenantConfig.read(knobs))
