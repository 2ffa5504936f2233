# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The legacy SIEM API, the alert exporter: /api/alerts, a bare array, no paging."""

from __future__ import annotations

import re

from .access import Access
from .clock import SECOND, parse_iso_duration, parse_time
from .config import TenantConfig
from .dataset import Dataset
from .messages import JSON_TYPE, ApiError, Page, Request, Response, json_response
from .odata import Condition, Predicate
from .selection import Selection, select
from .shapes_exporter import CLOUD_TAGS
from .timeline import mix
from .tokens import TokenError

_DEFAULT_SPAN = 2 * 3600 * SECOND
# All machines have the same tags, made in the portal, and none made on the device.
_TAGS = frozenset(tag.lower() for tag in CLOUD_TAGS)
_QUOTES = re.compile(r'^"|"$')


class Exporter:
    def __init__(self, config: TenantConfig, access: Access) -> None:
        self.config = config
        self.access = access

    def handle(self, request: Request) -> Response:
        try:
            dataset = self.access.enter(request, ("exporter",), ())
            with dataset.lock:
                return self.access.pages.answer(request, dataset, lambda: self._rows(request, dataset))
        except TokenError:
            response = json_response({"Message": "Authorization has been denied for this request."}, 401)
            response.headers["WWW-Authenticate"] = "Bearer"
            return response
        except ApiError as error:
            return self.error(request, error)

    def error(self, request: Request, error: ApiError) -> Response:
        response = json_response({"Message": str(error)}, error.status)
        response.headers.update(error.headers)
        return response

    def _rows(self, request: Request, dataset: Dataset) -> Response:
        query = {key.lower(): values for key, values in request.query.items()}
        low, high = self._window(query)
        limit = self._limit(query)
        condition = Condition(low, high, self._test(query, dataset))
        found = select(dataset.alerts, Selection(condition, newest_first=True, top=limit or len(dataset.alerts)))
        rows = [row for entry in found.entries for row in dataset.exporter_rows(entry)][: limit or None]
        if self.config.shuffle_exporter:
            # No order is promised; this one is at least the same each time.
            rows.sort(key=lambda row: mix(hash_text(row[0])))
        page = Page([body for _full_id, body in rows], bare=True, layout=dataset.options.layout)
        timed = "sincetimeutc" in query and "untiltimeutc" in query
        return Response(200, headers={"Content-Type": JSON_TYPE}, page=page, cacheable=timed)

    def _test(self, query: dict[str, list[str]], dataset: Dataset) -> Predicate | None:
        """Device groups and tags. `limit` counts what is left after them."""
        groups = {text.lower() for text in query.get("machinegroups", [])}
        wanted = [
            query[name][-1].lower() for name in ("devicecreatedmachinetags", "cloudcreatedmachinetags") if name in query
        ]
        if not groups and not wanted:
            return None
        has_tags = "devicecreatedmachinetags" not in query and all(tag in _TAGS for tag in wanted)
        return lambda number, ticks: has_tags and (not groups or dataset.machine_group(number).lower() in groups)

    def _window(self, query: dict[str, list[str]]) -> tuple[int, int]:
        now = self.access.clock.ticks()
        until = self._time(query, "untiltimeutc")
        since = self._time(query, "sincetimeutc")
        if since is None and "ago" in query:
            try:
                since = now - parse_iso_duration(query["ago"][-1])
            except ValueError:
                raise ApiError(400, "BadRequest", "The value of 'ago' is not an ISO 8601 duration.") from None
        high = now if until is None else until
        return (high - _DEFAULT_SPAN if since is None else since), high

    def _time(self, query: dict[str, list[str]], name: str) -> int | None:
        if name not in query:
            return None
        try:
            return parse_time(_QUOTES.sub("", query[name][-1]), zone_required=False)
        except ValueError:
            raise ApiError(400, "BadRequest", f"The value of '{name}' is not a time in UTC.") from None

    def _limit(self, query: dict[str, list[str]]) -> int:
        text = query.get("limit", ["0"])[-1]
        if not (text.isascii() and text.isdigit()):
            raise ApiError(400, "BadRequest", "The value of 'limit' is not a number.")
        return int(text)


def hash_text(text: str) -> int:
    """A number from a text; Python's own hash() differs from process to process."""
    return int.from_bytes(text.encode()[-24:], "big") % (1 << 64)
