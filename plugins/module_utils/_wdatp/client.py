# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One API of one tenant: a request with a valid token, and an answer that is a good one or an error with a remedy."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.request import getproxies_environment

from .auth import Authenticator
from .config import Connection
from .errors import ApiError
from .pace import Pace, limits_of
from .redact import Redactor
from .runtime import Runtime
from .sources.base import Source
from .transport import EXCERPT, Reply, Transport, first_line, place

# claims="..." of a WWW-Authenticate header: continuous access evaluation
# (learn.microsoft.com/entra/identity-platform/claims-challenge).
_CLAIMS = re.compile(r'claims="((?:[^"\\]|\\.)+)"')


class Client:
    """Asks one source of one connection."""

    def __init__(
        self,
        connection: Connection,
        source: Source,
        transport: Transport,
        redactor: Redactor,
        runtime: Runtime | None = None,
    ) -> None:
        """`runtime`: what other processes know of this app and tenant; without it, this client is alone."""
        runtime = runtime or Runtime()
        self.connection = connection
        self.source = source
        self.transport = transport
        self.pace = Pace(runtime.notebook(connection), source.name, limits_of(connection, source))
        self.auth = Authenticator(connection, transport, redactor, runtime)
        self.redactor = redactor
        for proxy in (connection.http.proxy, *getproxies_environment().values()):
            redactor.add_url(proxy)

    def get(
        self, params: Sequence[tuple[str, str]], retries: int | None = None, slow_retries: int | None = None
    ) -> Reply:
        """The answer to one query of the source's list. ApiError, AuthError, TransportError.

        `retries`, `slow_retries`: see Transport.request.
        """
        return self.get_url(self.connection.target.api_url + self.source.path, params, retries, slow_retries)

    def get_url(
        self,
        url: str,
        params: Sequence[tuple[str, str]] = (),
        retries: int | None = None,
        slow_retries: int | None = None,
    ) -> Reply:
        """As get, for a whole address: the caller has checked that it is on the API's own host."""
        reply = self._ask(url, params, retries, slow_retries)
        if reply.status == 401:
            # Revoked or expired in mid-drain: a new token once, with what the challenge demands.
            found = _CLAIMS.search(reply.headers.get("WWW-Authenticate", ""))
            self.auth.renew(re.sub(r"\\(.)", r"\1", found[1]) if found else None)
            reply = self._ask(url, params, retries, slow_retries)
        if reply.status not in (200, 206):
            raise self.error(reply)
        return reply

    def _ask(self, url: str, params: Sequence[tuple[str, str]], retries: int | None, slow_retries: int | None) -> Reply:
        return self.transport.request(
            "GET",
            url,
            params,
            headers=self.source.headers,
            bearer=self.auth.token().access_token,
            retries=retries,
            slow_retries=slow_retries,
            pace=self.pace,
        )

    # --- errors ----------------------------------------------------------------------------------------------------

    def error(self, reply: Reply) -> ApiError:
        """An answer with an error status, in words."""
        api_code, text = error_body(reply.body, self.redactor.text)
        said = f" ({api_code}: {text})" if api_code else f" ({text})" if text else ""
        kind, what, remedy = self._meaning(reply)
        return ApiError(
            f"{place(reply.url)} answered {reply.status}: {what}{said}.",
            remedy,
            code=f"api.{kind}",
            status=reply.status,
            api_code=api_code,
            page_limit=self.source.page_limit_in(text) if reply.status == 400 else 0,
        )

    def _meaning(self, reply: Reply) -> tuple[str, str, str]:
        """(kind, what it means, what to do)"""
        status, target = reply.status, self.connection.target
        if 300 <= status < 400:
            return (
                "redirect",
                "a redirect, which is never followed with a token",
                "A proxy's sign-in page or a wrong host: check host, api_url and proxy.",
            )
        if status == 401:
            return (
                "unauthorized",
                "the token was not accepted",
                f"The token is for {target.scope}: check that cloud, api and host belong together, or set scope.",
            )
        if status == 403:
            roles = " or ".join(self.source.roles) or "access to this API"
            has = ", ".join(self.auth.token().roles) or "none"
            return (
                "forbidden",
                f"the app registration lacks a permission (roles in the token: {has})",
                f"In the Entra admin center, under App registrations > API permissions, add the application permission "
                f"{roles} of {self.source.resource_name} and grant admin consent; it can take some minutes to count.",
            )
        if status == 404:
            return "not_found", "there is no such API here", "Check host, api and api_url."
        if status == 429:
            wait = self.transport.retry_after(reply)
            after = f"after {wait:.0f} s" if wait is not None else "in some minutes"
            return "throttled", "too many requests for this app and tenant", f"Run again {after}; nothing is lost."
        if status >= 500:
            return "unavailable", "the service failed", "Run again later; nothing is lost."
        return "refused", "the query was refused", "If it lasts, please report it with this message."


def error_body(body: bytes, hide: Callable[[str], str] = str) -> tuple[str, str]:
    """(code, message) of an error body in any of the APIs' forms; the first line of what is none.

    `hide` masks secrets in it, before it is cut short: half a secret would not be known for one.
    """
    try:
        value = json.loads(body.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return "", first_line(body, hide)
    inner: Any = value.get("error", value) if isinstance(value, dict) else value
    if not isinstance(inner, Mapping):
        return hide(str(inner))[:EXCERPT], ""
    message = inner.get("message") or inner.get("Message") or inner.get("error_description") or ""
    text = hide(str(message).splitlines()[0])[:300].rstrip(".") if message else ""
    return hide(str(inner.get("code") or ""))[:EXCERPT], text
