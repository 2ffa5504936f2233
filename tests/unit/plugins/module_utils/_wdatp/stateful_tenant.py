# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A tenant in this process, for the stateful test: what it knows is the truth that the engine is measured by.

It stands where a session of requests would, and speaks bytes: everything above (retries, tokens, pages, the walk) is
the engine's own. Its time is its own too. All that it does follows from what it was told, never from chance.
"""

from __future__ import annotations

import re
import time
from calendar import timegm
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import cache
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from urllib3.exceptions import ProtocolError

SECOND = 10_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
START = 1_790_000_000 * SECOND
HOST = "defender.example"
LOGIN = "login.example"
FOREIGN = "elsewhere.example"
CLAIMS = '{"access_token":{"nbf":{"essential":true}}}'
# More requests in one pull, and it does not come to its end.
ENDLESS = 3000

Version = tuple[str, str]


class Api(NamedTuple):
    path: str
    id_field: str
    time_field: str
    created_field: str
    # Oldest first can be asked for.
    is_ordered: bool


APIS = {
    "graph_alerts": Api("/v1.0/security/alerts_v2", "id", "lastUpdateDateTime", "createdDateTime", True),
    "graph_incidents": Api("/v1.0/security/incidents", "id", "lastUpdateDateTime", "createdDateTime", True),
    "mde_alerts": Api("/api/alerts", "id", "lastUpdateTime", "alertCreationTime", False),
    "alert_exporter": Api("/api/alerts", "FullId", "LastProcessedTimeUtc", "AlertTime", False),
}


@dataclass(frozen=True)
class Alert:
    """One version of an alert. `content`: changes with what it says, not with its time."""

    number: int
    created: int
    updated: int
    content: int

    @property
    def id(self) -> str:
        return f"da{self.number}_{-self.number * 7919}"

    @property
    def text(self) -> str:
        """The update time as the service writes it, with or without zeros at its end."""
        return written(self.updated, is_short=self.number % 3 == 0)

    @property
    def version(self) -> Version:
        return self.id, self.text

    def raw(self, api: Api) -> bytes:
        """JSON of an odd kind: numbers that no float holds, escapes, a decoy inside, an order of its own."""
        members = [
            f'"{api.id_field}": "{self.id}"',
            f'"{api.time_field}":"{self.text}"',
            f'"{api.created_field}" : "{written(self.created)}"',
            f'"content":{self.content},"big":{10**20 + self.number},"digits":1.10,"huge":1E400',
            '"text":"\\u00e9\\/\\"\\\\ \\ud83d\\ude00 \u20ac\u00e9 },{ ]"',
            f'"inside":{{"{api.id_field}":"decoy","{api.time_field}":"1999-01-01T00:00:00Z","list":[{{}},[]]}}',
        ]
        turn = self.number % len(members)
        glue = (", ", ",", ",\n\t", "\r\n,")[self.number % 4]
        return ("{" + glue.join(members[turn:] + members[:turn]) + "}").encode()


def written(ticks: int, is_short: bool = False) -> str:
    fraction = f".{ticks % SECOND:07d}"
    if is_short:
        fraction = fraction.rstrip("0").rstrip(".")
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ticks // SECOND)) + fraction + "Z"


@cache
def read(text: str) -> int:
    match = re.fullmatch(r"(.{19})(?:\.(\d+))?Z?", text)
    assert match, text
    return timegm(time.strptime(match[1], "%Y-%m-%dT%H:%M:%S")) * SECOND + int((match[2] or "0")[:7].ljust(7, "0"))


@dataclass
class Moods:
    """How the service is, until told otherwise."""

    # It gives fewer rows than asked for.
    clamp: int | None = None
    # as asked, newest first whatever is asked, or without order
    order: str = "asked"
    # on, off, refused (410), foreign (another host), loop (to itself), empty (a page without rows comes between)
    links: str = "on"
    # $skip counts.
    skips: bool = True
    # The first row of a page comes twice.
    doubles: bool = False
    # The bounds of sinceTimeUtc and untilTimeUtc are not part of the answer.
    open_bounds: bool = False


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes
    is_broken: bool = False


class Query(NamedTuple):
    low: int
    high: int | None
    created: list[tuple[str, int]]
    # None: without limit
    top: int | None
    skip: int
    order: str


@dataclass
class Tenant:
    """`faults`: number of a request in a pull -> what befalls it; `events`: -> what happens in the tenant before it."""

    api_name: str
    skip_limit: int | None
    now: int = START
    moods: Moods = field(default_factory=Moods)
    alerts: dict[int, Alert] = field(default_factory=dict)
    # Alerts in whose presence every answer fails: 500, or one that breaks off.
    poison: dict[int, str] = field(default_factory=dict)
    faults: dict[int, str] = field(default_factory=dict)
    events: dict[int, Callable[[], object]] = field(default_factory=dict)
    # All versions that ever were, by the line that a file shall have of them.
    lines: dict[bytes, Alert] = field(default_factory=dict)
    raws: dict[Alert, bytes] = field(default_factory=dict)
    # What was given out, as (id, update time).
    sent: set[Version] = field(default_factory=set)
    # In the pull that goes on.
    requests: int = 0
    was_faulty: bool = False
    was_partial: bool = False
    token: int = 1
    revoked: int = 0
    # Until then it has asked to be left alone.
    closed_until: int = 0
    breaches: list[str] = field(default_factory=list)

    @property
    def api(self) -> Api:
        return APIS[self.api_name]

    # --- what happens there --------------------------------------------------------------------------------------

    def put(self, alert: Alert) -> None:
        self.alerts[alert.number] = alert
        raw = self.raws[alert] = alert.raw(self.api)
        # What a file shall have: the same bytes, line ends between tokens aside.
        self.lines[raw.replace(b"\r", b" ").replace(b"\n", b" ")] = alert

    def add(self, amount: int, updated: int, step: int = 0, age: int = 0) -> None:
        """Alerts that become visible now; `updated` of the first, `step` ticks between, created `age` ticks before."""
        for number in range(amount):
            moment = updated + number * step
            self.put(Alert(len(self.alerts), moment - age * (number + 1), moment, 0))

    def update(self, alert: Alert, moment: int, is_touch: bool) -> None:
        """A new version, never older than the one before."""
        moment = max(moment, alert.updated + 1)
        self.now = max(self.now, moment)
        self.put(Alert(alert.number, alert.created, moment, alert.content + (not is_touch)))

    # --- how it answers --------------------------------------------------------------------------------------------

    def begin_pull(self, faults: Mapping[int, str], events: Mapping[int, Callable[[], object]]) -> None:
        self.requests, self.was_faulty, self.was_partial = 0, False, False
        self.faults, self.events = dict(faults), dict(events)

    def answer(self, method: str, url: str, authorization: str) -> Answer:
        parts = urlsplit(url)
        if parts.netloc == LOGIN:
            self.token += 1
            return Answer(200, {"Date": self._date()}, b'{"access_token":"token-%d","expires_in":3600}' % self.token)
        number = self.requests
        self.requests += 1
        self.now += SECOND // 1000
        if number in self.events:
            self.events.pop(number)()
        self._watch(method, parts.netloc, authorization)
        if self.requests > ENDLESS:
            self.breaches.append("the pull does not end")
            return self._status(403)
        fault = self.faults.pop(number, None)
        if fault:
            self.was_faulty = True
            if fault == "unauthorized":
                self.revoked = self.token
            elif fault in _FAULTS:
                return _FAULTS[fault](self)
        if authorization != f"Bearer token-{self.token}" or self.revoked >= self.token:
            claims = CLAIMS.replace('"', '\\"')
            header = f'Bearer error="insufficient_claims", claims="{claims}"'
            return self._status(401, **{"WWW-Authenticate": header})
        return self._page(parts.path, parts.query, fault)

    def _watch(self, method: str, host: str, authorization: str) -> None:
        if host != HOST:
            self.breaches.append(f"the token went to {host}")
        if method != "GET" or not authorization.startswith("Bearer token-"):
            self.breaches.append(f"{method} with {authorization or 'no token'}")

    def _status(self, status: int, **headers: str) -> Answer:
        body = b'{"error":{"code":"Code","message":"It failed."}}'
        return Answer(status, {"Date": self._date(), **headers}, body)

    def _date(self) -> str:
        return formatdate(self.now // SECOND, usegmt=True)

    def _page(self, path: str, query_text: str, fault: str | None) -> Answer:
        fields = dict(parse_qsl(query_text))
        if path != self.api.path:
            self.breaches.append(f"asked for {path}")
        if "token" in fields and self.moods.links == "refused":
            return self._status(410)
        query = self._exporter_query(fields) if "sinceTimeUtc" in fields else self._odata_query(fields)
        token = int(fields.get("token", 0))
        if self.skip_limit is not None and query.skip > self.skip_limit:
            self.breaches.append(f"$skip {query.skip} is beyond the limit")
            return self._status(400)
        found = self._found(query)[(query.skip if self.moods.skips else 0) + token :]
        page, rest = self._cut(found, query)
        if self.moods.links == "empty" and found and not token and "empty" not in fields and not self._has_no_links:
            return self._rows([], f"{query_text}&empty=1", fault)
        bad = [self.poison[alert.number] for alert in page if alert.number in self.poison]
        if bad:
            return self._status(500) if bad[0] == "fails" else self._rows(page, None, "broken")
        link = f"{query_text}&token={token + len(found) - len(rest)}" if rest else None
        return self._rows(page, link, fault)

    @property
    def _has_no_links(self) -> bool:
        return self.api_name == "alert_exporter"

    def _found(self, query: Query) -> list[Alert]:
        chosen = [
            alert
            for alert in self.alerts.values()
            if query.low <= alert.updated
            and (query.high is None or alert.updated <= query.high)
            and all(alert.created >= at if word == "ge" else alert.created <= at for word, at in query.created)
        ]
        order = query.order if self.moods.order == "asked" else "desc"
        return sorted(chosen, key=lambda alert: (alert.updated, alert.number), reverse=order == "desc")

    def _cut(self, found: list[Alert], query: Query) -> tuple[list[Alert], list[Alert]]:
        if query.top is None:
            return found, []
        size = min(query.top, self.moods.clamp or query.top)
        is_doubled = self.moods.doubles and size > 1
        size -= is_doubled
        page, rest = found[:size], found[size:]
        if is_doubled:
            page = page + page[:1]
        if self.moods.order == "mixed":
            page = page[1::2] + page[::2]
            if [alert.updated for alert in page] == sorted(alert.updated for alert in page):
                # By chance in order: a page of a few rows would look like one that came oldest first.
                page.reverse()
        return page, rest

    def _odata_query(self, fields: Mapping[str, str]) -> Query:
        low, high, created = 0, None, []
        for condition in fields["$filter"].split(" and "):
            name, word, moment = condition.split(" ")
            if name == self.api.created_field:
                created.append((word, read(moment)))
            elif word == "ge":
                low = read(moment)
            elif word == "le":
                high = read(moment)
            elif word == "gt":
                low = read(moment) + 1
        order = fields.get("$orderby", " desc").split(" ")[1] if self.api.is_ordered else "desc"
        return Query(low, high, created, int(fields["$top"]), int(fields.get("$skip", 0)), order)

    def _exporter_query(self, fields: Mapping[str, str]) -> Query:
        inner = 1 if self.moods.open_bounds else 0
        until = fields.get("untilTimeUtc")
        top = int(fields["limit"]) if "limit" in fields else None
        return Query(read(fields["sinceTimeUtc"]) + inner, read(until) - inner if until else None, [], top, 0, "desc")

    def _rows(self, page: list[Alert], link: str | None, fault: str | None) -> Answer:
        status = 200
        if fault == "partial":
            status, page, self.was_partial = 206, page[:-1], True
        if fault not in ("broken", "cut"):
            self.sent |= {alert.version for alert in page}
        raws = [self.raws[alert] for alert in page]
        value = b"[" + b" ,\n".join(raws) + b"]"
        if not self._has_no_links:
            member = self._link(link)
            members = [b'"@odata.context":"https://x/$metadata"', b'"value" : ' + value, *member]
            value = b"{" + b",".join(members[::-1] if self.requests % 2 else members) + b"}"
        if fault == "cut":
            value = value[: len(value) // 2]
        return Answer(status, {"Date": self._date()}, value, fault == "broken")

    def _link(self, query: str | None) -> list[bytes]:
        if query is None or self.moods.links == "off":
            return []
        host = FOREIGN if self.moods.links == "foreign" else HOST
        if self.moods.links == "loop":
            query = query.partition("&token=")[0]
        return [b'"@odata.nextLink":"https://%b%b?%b"' % (host.encode(), self.api.path.encode(), query.encode())]


def _throttled(tenant: Tenant, seconds: int) -> Answer:
    tenant.closed_until = tenant.now + seconds * SECOND
    return tenant._status(429, **{"Retry-After": str(seconds)})


# What may befall a single request. The others (partial, broken, cut) befall a page: see Tenant._rows.
_FAULTS: dict[str, Callable[[Tenant], Answer]] = {
    "throttled": lambda tenant: _throttled(tenant, 3),
    # Longer than a run waits.
    "closed": lambda tenant: _throttled(tenant, 1800),
    "failed": lambda tenant: tenant._status(500),
    "down": lambda tenant: tenant._status(503),
    "sign-in": lambda tenant: Answer(200, {"Date": tenant._date()}, b"<html>Sign in</html>"),
    "timeout": lambda tenant: Answer(0, {}, b""),
}
FAULTS = [*_FAULTS, "unauthorized", "partial", "broken", "cut"]


# --- in place of requests ------------------------------------------------------------------------------------------


class Raw:
    """The body as urllib3 gives it, in pieces."""

    def __init__(self, answer: Answer) -> None:
        half = len(answer.body) // 2
        self.pieces = [answer.body[:half]] if answer.is_broken else [answer.body[:half], answer.body[half:]]
        self.is_broken = answer.is_broken

    def read1(self, amount: int, decode_content: bool) -> bytes:
        if self.pieces:
            return self.pieces.pop(0) or (self.read1(amount, decode_content) if self.pieces else b"")
        if self.is_broken:
            raise ProtocolError("Connection broken")
        return b""


class Response:
    def __init__(self, answer: Answer) -> None:
        self.status_code = answer.status
        self.headers = answer.headers
        self.raw = Raw(answer)

    def close(self) -> None:
        """Nothing is open."""


class Session:
    """What the engine's transport needs of a session of requests."""

    def __init__(self, tenant: Tenant) -> None:
        self.tenant = tenant
        self.headers: dict[str, str] = {}

    def request(self, method: str, url: str, auth: Callable[[Any], Any], **unused: Any) -> Response:
        self.headers = {}
        auth(self)
        answer = self.tenant.answer(method, url, self.headers.get("Authorization", ""))
        if not answer.status:
            raise TimeoutError("timed out")
        return Response(answer)

    def merge_environment_settings(self, *unused: Any) -> dict[str, Any]:
        return {"proxies": {}, "verify": True}

    def close(self) -> None:
        """Nothing is open."""
