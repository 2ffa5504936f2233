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
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

from .aadsts import EntraError, error_response
from .clock import Clock
from .messages import JSON_TYPE, Page, Request, Response, ccp_error, json_response

MATCH = frozenset(("path", "query", "n", "every", "from", "times", "leg", "method", "tenant"))
LEGS = ("token", "discovery", "graph_alerts", "graph_incidents", "mde_alerts", "alert_exporter", "unknown", "ccp")
# Legs that are not meant by `api`.
_NO_API = ("token", "discovery", "ccp")
# Each word with the kinds of value that it takes.
_NUMBER: tuple[type, ...] = (int, float)
DO: dict[str, tuple[type, ...]] = {
    "status": (int,),
    "headers": (dict,),
    "retry_after": (int, float, str),
    "body": (str, dict, list),
    "echo": (bool,),
    "content_type": (str,),
    "aadsts": (int,),
    "ccp_error": (str,),
    "claims_challenge": (bool,),
    "html_200": (bool,),
    "bad_json": (bool,),
    "bom": (bool,),
    "date_skew": _NUMBER,
    "delay": _NUMBER,
    "drip": _NUMBER,
    "truncate": (int,),
    "reset": (bool,),
    "wrong_link": (bool, str),
    "repeat_link": (bool,),
    "drop_link": (bool,),
    "empty_page_with_link": (bool,),
    "bad_skiptoken": (bool,),
    "ignore_filter": (bool,),
    "ignore_orderby": (bool,),
    "clamp_top": (int,),
    "shuffle": (bool,),
    "duplicate_rows": (int,),
    "drop_rows": (int,),
    "poison": (str,),
}
_LOGIN_PAGE = (
    "<!DOCTYPE html>\n<html><head><title>Proxy sign-in</title></head><body><h1>Please sign in</h1>"
    '<form action="https://proxy.example/login" method="post"><input name="user"></form></body></html>\n'
)
_CHALLENGE = (
    'Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", '
    'error="insufficient_claims", '
    'claims="eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZSwidmFsdWUiOiIxNjA0MTA2NjUxIn19fQ=="'
)


@dataclass
class Rule:
    match: dict[str, Any]
    do: dict[str, Any]
    # How many requests fitted, apart from n, every, from and times; and how many of them got the fault.
    seen: int = 0
    fired: int = 0

    @classmethod
    def read(cls, value: Any) -> Rule:
        if not isinstance(value, dict) or not isinstance(value.get("do"), dict):
            raise ValueError('a fault is {"match": {...}, "do": {...}}')
        match, do = value.get("match", {}), value["do"]
        unknown = sorted((set(value) - {"match", "do"}) | (set(match) - MATCH) | (set(do) - set(DO)))
        if unknown:
            raise ValueError(f"unknown words in a fault: {', '.join(unknown)}")
        _check_match(match)
        for name, given in do.items():
            if not isinstance(given, DO[name]):
                raise ValueError(f"{name} does not take {given!r}")
        return cls(match, do)

    def fits(self, request: Request, leg: str) -> bool:
        match = self.match
        if "leg" in match and leg != match["leg"] and not (match["leg"] == "api" and leg not in _NO_API):
            return False
        if "method" in match and request.method != match["method"]:
            return False
        if "tenant" in match and request.tenant_id != str(match["tenant"]).lower():
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


def _check_match(match: dict[str, Any]) -> None:
    for name in ("path", "query"):
        try:
            re.compile(match.get(name, ""))
        except re.error as error:
            raise ValueError(f"{name} is no regular expression: {error}") from error
    if match.get("leg", "api") not in (*LEGS, "api"):
        raise ValueError(f"leg is api or one of {', '.join(LEGS)}, not {match['leg']!r}")
    if not isinstance(match.get("n", 1), (int, list)):
        raise ValueError(f"n is a number or a list of numbers, not {match['n']!r}")
    for name, least in (("every", 1), ("from", 1), ("times", 0)):
        if not isinstance(match.get(name, least), int) or match.get(name, least) < least:
            raise ValueError(f"{name} is a number from {least} up, not {match[name]!r}")


def _sent(request: Request) -> str:
    """All that the client has sent, on one line, as proxies show it that are made for finding errors."""
    fields = [f"{name}: {text}" for name, text in request.headers.items()]
    return " ".join([request.body.decode("utf-8", "replace"), *fields])


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


def answer_with_faults(
    faults: Faults, request: Request, leg: str, route: Callable[[Request], Response]
) -> tuple[Response, Fault | None]:
    """What `route` answers, and what a fault makes of it."""
    fault = faults.pick(request, leg)
    if fault is None:
        return route(request), None
    request.has_fault = True
    request.note["fault"] = fault.do
    fault.change_request(request)
    return fault.change_response(request, fault.instead(request) or route(request)), fault


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
        top = query.get("$top", ["999999"])[-1]
        if "clamp_top" in self.do and top.isascii() and top.isdigit():
            query["$top"] = [str(min(int(top), int(self.do["clamp_top"])))]

    def instead(self, request: Request) -> Response | None:
        """An answer that takes the place of the API's own."""
        do = self.do
        if do.get("html_200"):
            return Response(200, _LOGIN_PAGE.encode(), {"Content-Type": "text/html; charset=utf-8"})
        if do.get("claims_challenge"):
            message = "Continuous access evaluation resulted in challenge with result: InteractionRequired."
            return self._error(request, 401, "InvalidAuthenticationToken", message, {"WWW-Authenticate": _CHALLENGE})
        if "aadsts" in do:
            tenant = request.path.split("/")[1]
            values = {"tenant": tenant, "directory": tenant, "client": request.form().get("client_id", "")}
            request.note["aadsts"] = int(do["aadsts"])
            return error_response(EntraError(int(do["aadsts"]), **values), self.clock)
        if "ccp_error" in do:
            return ccp_error(str(do["ccp_error"]))
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
        if self.do.get("echo"):
            text = body if isinstance(body, str) else json.dumps(body)
            body = text.replace("{sent}", json.dumps(_sent(request), ensure_ascii=False)[1:-1])
        if isinstance(body, str):
            kind = "text/html" if body.lstrip().startswith("<") else JSON_TYPE if body[:1] in "{[" else "text/plain"
            return Response(status, body.encode(), {"Content-Type": kind})
        return Response(status, json.dumps(body).encode(), {"Content-Type": JSON_TYPE})

    def _error(self, request: Request, status: int, code: str, message: str, headers: dict[str, str]) -> Response:
        if self.leg in ("token", "discovery"):
            value: dict[str, Any] = {"error": "temporarily_unavailable", "error_description": message}
        elif self.leg in ("alert_exporter", "ccp"):
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
        if do.get("duplicate_rows"):
            page.rows += page.rows[-int(do["duplicate_rows"]) :]
        if do.get("drop_rows"):
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
        kind, _colon, seconds = text.partition(":")
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
