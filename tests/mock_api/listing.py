# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""OData lists, as Graph and the Defender for Endpoint API share them: options, one page, the link to the next."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from .config import TenantConfig
from .messages import ODATA_TYPE, ApiError, Page, Request, Response
from .odata import Condition, Field, FilterError, parse_filter
from .selection import Selection, select
from .timeline import Key, Timeline

_NUMBER = re.compile(r"\d+", re.ASCII)
_ORDER = re.compile(r"\s*([\w./]+)(?:\s+(asc|desc))?\s*", re.IGNORECASE)


@dataclass(frozen=True)
class ListOptions:
    """What one API allows in its query."""

    fields: Mapping[str, Field]
    # Order by this name -> how to sort; None: as the data is indexed.
    orders: Mapping[str, Callable[[Key], tuple[int, int]] | None]
    allowed: frozenset[str]
    context: str
    layout: str
    default_top: int
    top_limit: int
    # True: a larger $top becomes the limit; False: it is refused.
    clamp_top: bool
    skip_limit: int | None
    ignore_case: bool = False
    # "honoured", "ignored" or "refused"
    orderby: str = "honoured"
    # With $top there is no link.
    no_link_with_top: bool = False


class ODataList:
    def __init__(self, options: ListOptions, config: TenantConfig) -> None:
        self.options = options
        self.config = config

    def page(self, request: Request, timeline: Timeline, render: Callable[[Key], bytes]) -> Response:
        query = self._query(request)
        selection = self._selection(query)
        found = select(timeline, selection)
        link = None
        wanted = self.config.links == "on" and not (self.options.no_link_with_top and "$top" in query)
        # $top=0 gives an empty page, from which no link could lead on.
        if wanted and found.more and found.entries:
            link = self._link(request, query, selection, found.entries)
        page = Page(
            [render(entry) for entry in found.entries],
            context=self.options.context,
            count=found.count,
            next_link=link,
            link_last=self.config.link_last,
            layout=self.options.layout,
        )
        return Response(200, headers={"Content-Type": ODATA_TYPE, "OData-Version": "4.0"}, page=page, cacheable=True)

    def _query(self, request: Request) -> dict[str, str]:
        query: dict[str, str] = {}
        for name, values in request.query.items():
            key = name.lower()
            if key.startswith("$") and key not in self.options.allowed:
                raise ApiError(400, "BadRequest", f"The query parameter '{name}' is not supported.")
            if len(values) > 1 and key.startswith("$"):
                raise ApiError(400, "BadRequest", f"Query option '{name}' was specified more than once.")
            query[key] = values[-1]
        return query

    def _selection(self, query: dict[str, str]) -> Selection:
        newest_first, sort_by = self._order(query.get("$orderby"))
        after, offset = self._token(query.get("$skiptoken"))
        return Selection(
            condition=self._condition(query.get("$filter")),
            newest_first=newest_first,
            top=self._top(query),
            skip=offset if "$skiptoken" in query else self._skip(query),
            after=after,
            want_count=query.get("$count", "").lower() == "true",
            sort_by=sort_by,
        )

    def _condition(self, text: str | None) -> Condition:
        if text is None:
            return Condition()
        try:
            return parse_filter(text, self.options.fields, self.options.ignore_case)
        except FilterError as error:
            raise ApiError(400, "ODataFilter", f"Invalid filter clause: {error}") from error

    def _top(self, query: dict[str, str]) -> int:
        text = query.get("$top")
        if text is None:
            return self.options.default_top
        if not _NUMBER.fullmatch(text):
            raise ApiError(400, "ODataQuery", f"Invalid value '{text}' for $top query option found.")
        if int(text) > self.options.top_limit and not self.options.clamp_top:
            message = (
                "The query specified in the URI is not valid. "
                f"The limit of '{self.options.top_limit}' for Top query has been exceeded. "
                f"The value from the incoming request is '{text}'."
            )
            raise ApiError(400, "TopLimit", message)
        return min(int(text), self.options.top_limit)

    def _skip(self, query: dict[str, str]) -> int:
        text = query.get("$skip", "0")
        if not _NUMBER.fullmatch(text):
            raise ApiError(400, "ODataQuery", f"Invalid value '{text}' for $skip query option found.")
        if self.options.skip_limit is not None and int(text) > self.options.skip_limit:
            message = (
                "The query specified in the URI is not valid. "
                f"The limit of '{self.options.skip_limit}' for Skip query has been exceeded. "
                f"The value from the incoming request is '{text}'."
            )
            raise ApiError(400, "SkipLimit", message)
        return int(text)

    def _order(self, text: str | None) -> tuple[bool, Callable[[Key], tuple[int, int]] | None]:
        if text is None or self.options.orderby == "ignored":
            return True, None
        match = _ORDER.fullmatch(text)
        if match is None or match[1] not in self.options.orders or self.options.orderby == "refused":
            raise ApiError(400, "ODataQuery", f"Ordering by '{text}' is not supported.")
        return (match[2] or "asc").lower() == "desc", self.options.orders[match[1]]

    # --- links -----------------------------------------------------------------------------------------------------

    def _link(self, request: Request, query: dict[str, str], selection: Selection, entries: list[Key]) -> str:
        """The same query, going on behind the last entry (or, in the style `offset`, by counting)."""
        kept = {key: value for key, value in query.items() if key not in ("$skip", "$skiptoken")}
        token = list(entries[-1]) if self.config.link_style == "position" else selection.skip + len(entries)
        packed = base64.urlsafe_b64encode(json.dumps(token).encode()).rstrip(b"=").decode()
        text = urlencode({**kept, "$skiptoken": packed}, quote_via=quote, safe="$")
        return f"{request.base_url}{request.path}?{text}"

    def _token(self, text: str | None) -> tuple[Key | None, int]:
        if text is None:
            return None, 0
        try:
            value = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            return (None, int(value)) if isinstance(value, int) else ((int(value[0]), int(value[1])), 0)
        except (ValueError, TypeError, LookupError, binascii.Error):
            raise ApiError(400, "SkipToken", "Skip token is not valid.") from None
