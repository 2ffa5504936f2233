# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all APIs do first: read the bearer token, check it, find the tenant, hold the caller to the rate limit."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

from .clock import Clock
from .config import RATE_LIMITS, TenantConfig
from .dataset import Dataset
from .messages import ApiError, Request
from .pages import PageCache
from .tokens import TokenError, Tokens, resource_kind


class Access:
    def __init__(self, config: TenantConfig, tokens: Tokens, clock: Clock, datasets: dict[str, Dataset]) -> None:
        self.config = config
        self.tokens = tokens
        self.clock = clock
        self.datasets = datasets
        self.pages = PageCache(config)
        self._calls: dict[tuple[str, str, str], deque[float]] = {}
        self._lock = threading.Lock()

    def claims(self, request: Request) -> dict[str, Any]:
        """The token's claims; TokenError where there is no good token."""
        scheme, _space, token = request.header("Authorization").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise TokenError("missing")
        return self.tokens.verify(token.strip())

    def kind(self, claims: dict[str, Any]) -> str | None:
        return resource_kind(str(claims.get("aud")), self.config.resources)

    def enter(self, request: Request, kinds: tuple[str, ...], roles: tuple[str, ...]) -> Dataset:
        """The data that this caller may see. TokenError (401) or ApiError (403, 429) where it may not."""
        claims = self.claims(request)
        if self.kind(claims) not in kinds:
            raise TokenError("audience")
        tenant_id = str(claims.get("tid")).lower()
        request.tenant_id = tenant_id
        dataset = self.datasets.get(tenant_id)
        if dataset is None:
            raise TokenError("malformed")
        given = claims.get("roles", [])
        if roles and not set(roles) & set(given):
            needed, has = ",".join(roles), ",".join(given)
            message = f"Missing application roles. API required roles: {needed}, application roles: {has}."
            raise ApiError(403, "Forbidden", message)
        self._pace(kinds[0], str(claims.get("appid")), tenant_id)
        return dataset

    def _pace(self, api: str, client_id: str, tenant_id: str) -> None:
        limits = self.config.rate_limits
        if not limits:
            return
        minute, hour = (limits if isinstance(limits, dict) else {}).get(api) or RATE_LIMITS[api]
        now = self.clock.seconds()
        with self._lock:
            calls = self._calls.setdefault((api, client_id, tenant_id), deque())
            while calls and calls[0] <= now - 3600:
                calls.popleft()
            wait = max(_wait(calls, minute, 60, now), _wait(calls, hour, 3600, now))
            if wait > 0:
                seconds = int(wait) + 1
                message = f"Too many requests. Try again in {seconds} seconds."
                raise ApiError(429, "TooManyRequests", message, {"Retry-After": str(seconds)})
            calls.append(now)


def _wait(calls: deque[float], limit: int, window: int, now: float) -> float:
    """Seconds until one more call fits into the window."""
    if not limit or len(calls) < limit:
        return 0.0
    return calls[-limit] + window - now
