# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a host in Azure asks for its managed identity's token: a virtual machine's metadata service, and Azure Arc.

Sources: learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token (parameters, header
Metadata, errors) and learn.microsoft.com/azure/azure-arc/servers/managed-identity-authentication (the challenge with a
file that only members of the group himds can read). Plain HTTP, as there.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from .tenant import MockTenant
from .tokens import resource_kind

_PATH = "/metadata/identity/oauth2/token"
_VERSIONS = {"vm": "2018-02-01", "arc": "2020-06-01"}


class _Refusal(Exception):
    def __init__(self, status: int, error: str, description: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(description)
        self.status = status
        self.body = {"error": error, "error_description": description}
        self.headers = headers or {}


class MockImds:
    """The metadata service of one host in the tenant's subscription.

    `kind`: vm or arc. `client_ids`: of user-assigned identities; None among them: there is a system-assigned one.
    `key_directory`: where Arc puts its key files (there: /var/opt/azcmagent/tokens).
    """

    def __init__(
        self,
        tenant: MockTenant,
        kind: str = "vm",
        client_ids: Iterable[str | None] = (None,),
        key_directory: Path | None = None,
    ) -> None:
        self.tenant = tenant
        self.kind = kind
        self.client_ids = set(client_ids)
        self.key_directory = key_directory
        # What was asked: path, parameters, status.
        self.requests: list[dict[str, Any]] = []
        self._keys: set[str] = set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.imds = self  # type: ignore[attr-defined]

    def __enter__(self) -> MockImds:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *unused: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def environment(self) -> dict[str, str]:
        """What makes a client ask here, and not at 169.254.169.254."""
        if self.kind == "arc":
            return {"IDENTITY_ENDPOINT": self.url + _PATH, "IMDS_ENDPOINT": self.url}
        return {"AZURE_POD_IDENTITY_AUTHORITY_HOST": self.url}

    def answer(self, path: str, params: dict[str, str], headers: Any) -> dict[str, Any]:
        """The token endpoint's answer. _Refusal."""
        if path != _PATH:
            raise _Refusal(404, "not_found", f"there is no {path}")
        if headers.get("Metadata") != "true":
            raise _Refusal(400, "bad_request_102", "Required metadata header not specified")
        if headers.get("X-Forwarded-For"):
            raise _Refusal(400, "bad_request", "Requests through a proxy are not answered")
        if params.get("api-version") != _VERSIONS[self.kind]:
            raise _Refusal(400, "bad_request", "Unsupported api-version")
        kind = resource_kind(params.get("resource", ""))
        if kind is None:
            raise _Refusal(400, "invalid_resource", "AADSTS500011: The resource principal was not found in the tenant")
        if self.kind == "arc":
            self._challenge(headers.get("Authorization", ""))
        client_id = params.get("client_id")
        if client_id not in self.client_ids:
            raise _Refusal(400, "invalid_request", "Identity not found")
        return self._token(kind, params["resource"], client_id or self.tenant.client_id)

    def _challenge(self, authorization: str) -> None:
        """Whoever can read the file that is named here belongs to this host, and may have the token."""
        if authorization.startswith("Basic ") and authorization[6:] in self._keys:
            self._keys.remove(authorization[6:])
            return
        key, directory = uuid.uuid4().hex, self.key_directory or Path("/var/opt/azcmagent/tokens")
        path = directory / f"{uuid.uuid4()}.key"
        path.write_text(key)
        path.chmod(0o640)
        self._keys.add(key)
        raise _Refusal(401, "unauthorized", "A challenge", {"WWW-Authenticate": f"Basic realm={path}"})

    def _token(self, kind: str, resource: str, client_id: str) -> dict[str, Any]:
        token = self.tenant.token(kind, audience=resource, client_id=client_id)
        lifetime = self.tenant.config.token_lifetime
        now = int(self.tenant.tokens.clock.seconds())
        # All of them are texts.
        return {
            "access_token": token,
            "client_id": client_id,
            "expires_in": str(lifetime),
            "expires_on": str(now + lifetime),
            "ext_expires_in": str(lifetime),
            "not_before": str(now),
            "resource": resource,
            "token_type": "Bearer",
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        imds: MockImds = self.server.imds  # type: ignore[attr-defined]
        parts = urlsplit(self.path)
        params = dict(parse_qsl(parts.query))
        status, headers = 200, {}
        try:
            body = imds.answer(parts.path, params, self.headers)
        except _Refusal as refusal:
            status, body, headers = refusal.status, refusal.body, refusal.headers
        imds.requests.append({"path": parts.path, "params": params, "status": status})
        content = json.dumps(body).encode()
        self.send_response(status)
        for name, text in {**headers, "Content-Type": "application/json", "Content-Length": str(len(content))}.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: see MockImds.requests."""
