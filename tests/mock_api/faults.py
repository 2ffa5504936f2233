# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong, as rules: which requests, and what happens to them. The first rule that fits is used."""

from __future__ import annotations

import json
import random
import re
import threading
import uuid
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

from .aadsts import EntraError, error_response
from .clock import Clock
from .messages import JSON_TYPE, Page, Request, Response, json_response

_MATCH = frozenset("path query n every from times leg method".split())
_DO = frozenset(
    "status headers retry_after body content_type delay drip truncate reset bad_json html_200 bom wrong_link repeat_link "
    "drop_link empty_page_with_link bad_skiptoken ignore_filter ignore_orderby shuffle clamp_top claims_challenge poison "
    "duplicate_rows drop_rows date_skew aadsts".split()
)
_LOGIN_PAGE = (
    "<!DOCTYPE html>\n<html><head><title>Proxy sign-in</title></head><body><h1>Please sign in</h1>"
    '<form action="https://proxy.example/login" method="post"><input name="user"></form></body></html>\n'
)
_CHALLENGE = (
    'Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", '
    'error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZSwidmFsdWUiOiIxNjA0MTA2NjUxIn19fQ=="'
)


@dataclass
class Rule:
    match: dict[str, Any]
    do: dict[str, Any]
    # How many requests fitted path, query, leg and method; and how many of them got the fault.
    seen: int = 0
    fired: int = 0

    @classmethod
    def read(cls, value: Any) -> Rule:
        if not isinstance(value, dict) or not isinstance(value.get("do"), dict):
            raise ValueError('a fault is {"match": {...}, "do": {...}}')
        match, do = value.get("match", {}), value["do"]
        unknown = sorted((set(value) - {"match", "do"}) | (set(match) - _MATCH) | (set(do) - _DO))
        if unknown:
            raise ValueError(f"unknown words in a fault: {', '.join(unknown)}")
        for name in ("path", "query"):
            re.compile(match.get(name, ""))
        return cls(match, do)

    def fits(self, request: Request, leg: str) -> bool:
        match = self.match
        if "leg" in match and leg != match["leg"] and not (match["leg"] == "api" and leg not in ("token", "discovery")):
            return False
        if "method" in match and request.method != match["method"]:
            return False
        return all(
            name not in match or re.search(match[name], text)
            for name, text in (("path", request.path), ("query", _decoded(request)))
        )

    def fires(self) -> bool:
        """Counts one more fitting request, and says whether this is one of those meant."""
        self.seen += 1
        match = self.match
        fires = (
            ("n" not in match or self.seen in ([match["n"]] if isinstance(match["n"], int) else match["n"]))
            and ("every" not in match or self.seen % match["every"] == 0)
            and ("from" not in match or self.seen >= match["from"])
            and ("times" not in match or self.fired < match["times"])
        )
        self.fired += fires
        return fires


def _decoded(request: Request) -> str:
    return "&".join(f"{key}={value}" for key, values in request.query.items() for value in values)


class Faults:
    def __init__(self, rules: list[dict[str, Any]], clock: Clock) -> None:
        self.clock = clock
        self._lock = threading.Lock()
        self.rules: list[Rule] = []
        self.set(rules)

    def set(self, rules: list[dict[str, Any]]) -> None:
        read = [Rule.read(rule) for rule in rules]
        with self._lock:
            self.rules = read

    def pick(self, request: Request, leg: str) -> Fault | None:
        with self._lock:
            for rule in self.rules:
                if rule.fits(request, leg) and rule.fires():
                    return Fault(rule.do, leg, self.clock)
        return None

    def describe(self) -> list[dict[str, Any]]:
        return [{"match": rule.match, "do": rule.do, "seen": rule.seen, "fired": rule.fired} for rule in self.rules]


@dataclass
class Fault:
    """One rule at work on one request."""

    do: dict[str, Any]
    leg: str
    clock: Clock
    headers: dict[str, str] = field(default_factory=dict)

    # --- before the API sees the request ---------------------------------------------------------------------------

    def change_request(self, request: Request) -> None:
        query = request.query
        if self.do.get("ignore_filter"):
            query.pop("$filter", None)
        if self.do.get("ignore_orderby"):
            query.pop("$orderby", None)
        if "clamp_top" in self.do:
            query["$top"] = [str(min(int(query.get("$top", ["999999"])[-1]), int(self.do["clamp_top"])))]

    def instead(self, request: Request) -> Response | None:
        """An answer that takes the place of the API's own."""
        do = self.do
        if do.get("html_200"):
            return Response(200, _LOGIN_PAGE.encode(), {"Content-Type": "text/html; charset=utf-8"})
        if do.get("claims_challenge"):
            message = "Continuous access evaluation resulted in challenge with result: InteractionRequired."
            return self._error(request, 401, "InvalidAuthenticationToken", message, {"WWW-Authenticate": _CHALLENGE})
        if "aadsts" in do:
            return error_response(EntraError(int(do["aadsts"])), self.clock)
        if do.get("bad_skiptoken") and any("$skiptoken" in key.lower() for key in request.query):
            return self._error(request, 400, "BadRequest", "Skip token is not valid.", {})
        if int(do.get("status", 200)) >= 300 or "body" in do:
            return self._status(request)
        return None

    def _status(self, request: Request) -> Response:
        status = int(self.do.get("status", 200))
        body = self.do.get("body")
        if body is None:
            phrase = HTTPStatus(status).phrase.replace(" ", "")
            return self._error(request, status, phrase, "The mock tenant was told to fail.", {})
        if isinstance(body, str):
            kind = "text/html" if body.lstrip().startswith("<") else JSON_TYPE if body[:1] in "{[" else "text/plain"
            return Response(status, body.encode(), {"Content-Type": kind})
        return Response(status, json.dumps(body).encode(), {"Content-Type": JSON_TYPE})

    def _error(self, request: Request, status: int, code: str, message: str, headers: dict[str, str]) -> Response:
        if self.leg in ("token", "discovery"):
            value: dict[str, Any] = {"error": "temporarily_unavailable", "error_description": message}
        elif self.leg == "alert_exporter":
            value = {"Message": message}
        elif self.leg == "mde_alerts":
            value = {"error": {"code": code, "message": message, "target": request.request_id}}
        else:
            value = {"error": {"code": code, "message": message, "innerError": {"request-id": request.request_id}}}
        response = json_response(value, status)
        response.headers.update(headers)
        return response

    # --- after it answered -----------------------------------------------------------------------------------------

    def change_response(self, request: Request, response: Response) -> Response:
        if response.page is not None:
            poison = str(self.do.get("poison", ""))
            if poison and any(b'"%b"' % poison.encode() in row for row in response.page.rows):
                return self._error(request, 500, "InternalServerError", "An internal error occurred.", {})
            self._change_page(request, response.page)
        if 200 < int(self.do.get("status", 200)) < 300:
            response.status = int(self.do["status"])
        body = response.payload()
        if self.do.get("bad_json"):
            body = body[: len(body) // 2]
        if self.do.get("bom"):
            body = b"\xef\xbb\xbf" + body
        response.body = body
        response.headers.update(self._extra_headers())
        return response

    def _change_page(self, request: Request, page: Page) -> None:
        do = self.do
        if do.get("shuffle"):
            random.Random(request.query_text).shuffle(page.rows)
        if "duplicate_rows" in do:
            page.rows += page.rows[-int(do["duplicate_rows"]) :]
        if "drop_rows" in do:
            del page.rows[-int(do["drop_rows"]) :]
        here = f"{request.base_url}{request.path}?{request.query_text}"
        if do.get("empty_page_with_link"):
            # It leads on to the same rows; the extra parameter keeps it from looking like a repeated link.
            page.rows, page.next_link = [], f"{here}&mock={uuid.uuid4().hex}"
        if do.get("wrong_link"):
            target = do["wrong_link"] if isinstance(do["wrong_link"], str) else "https://graph.microsoft.example"
            page.next_link = target + f"{request.path}?$skiptoken=abc"
        if do.get("repeat_link"):
            page.next_link = here
        if do.get("drop_link"):
            page.next_link = None

    def _extra_headers(self) -> dict[str, str]:
        headers = {str(name): str(text) for name, text in self.do.get("headers", {}).items()}
        if "content_type" in self.do:
            headers["Content-Type"] = str(self.do["content_type"])
        if "retry_after" in self.do:
            headers["Retry-After"] = self._retry_after(str(self.do["retry_after"]))
        if "date_skew" in self.do:
            headers["Date"] = formatdate(self.clock.seconds() + float(self.do["date_skew"]), usegmt=True)
        return headers

    def _retry_after(self, text: str) -> str:
        """Seconds, or 'date:5' for the moment in five seconds, or whatever nonsense was given."""
        kind, unused_colon, seconds = text.partition(":")
        return formatdate(self.clock.seconds() + float(seconds), usegmt=True) if kind == "date" else text

    # --- on the wire -----------------------------------------------------------------------------------------------

    @property
    def delay(self) -> float:
        return float(self.do.get("delay", 0))

    @property
    def drip(self) -> float:
        return float(self.do.get("drip", 0))

    @property
    def truncate(self) -> int | None:
        return int(self.do["truncate"]) if "truncate" in self.do else None

    @property
    def reset(self) -> bool:
        return bool(self.do.get("reset"))
