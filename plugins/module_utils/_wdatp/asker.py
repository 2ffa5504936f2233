# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks one API the walker's questions: from spans to HTTP, from answers to events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from .client import Client
from .errors import ApiError, TransportError
from .page import Event, Fields, parse_page
from .paging import SMALLEST_PAGE, Answer
from .sources.base import Params, Source, Span
from .times import DAY
from .transport import Reply, first_line

# An answer that is cut off or overwritten on its way is asked for again at once, so many times.
_BROKEN_TRIES = 3
# So is one that is too slow, where the walk can't ask for less instead.
_SLOW_RETRIES = 1
# How a next link is refused: expired or unknown tokens.
_REFUSED = (400, 404, 410)


class ApiAsker:
    def __init__(self, client: Client, source: Source) -> None:
        self.client = client
        self.source = source
        # False: one try, no waiting.
        self.is_patient = True

    def server_now(self) -> int:
        return self.client.transport.server_now()

    def span(self, span: Span, top: int, skip: int = 0, extra: Sequence[str] = ()) -> Answer:
        can_shrink = top > SMALLEST_PAGE
        try:
            return self._get(self.source.params(span, top, skip, extra), 0 if can_shrink else _SLOW_RETRIES)
        except TransportError as error:
            # The walk asks again at once, for less.
            self.client.transport.counters.retried += error.wants_less and can_shrink
            raise

    def everything(self, span: Span) -> Answer | None:
        params = self.source.everything_params(span)
        return None if params is None else self._get(params, 0)

    def newest(self, span: Span, top: int) -> Answer:
        return self._get(self.source.newest_params(span, top))

    def answers(self) -> bool:
        """Whether the API answers a question that no alert can spoil: for those of tomorrow. Not asked too late."""
        if self.client.transport.is_late():
            return False
        tomorrow = Span(self.server_now() + DAY, None)
        try:
            # A proxy's sign-in page is no answer, whatever its status says.
            self._answer(self.client.get(self.source.newest_params(tomorrow, 1), self._retries, _SLOW_RETRIES))
        except ApiError as error:
            return error.status < 500 and error.status != 429
        except TransportError:
            return False
        return True

    @property
    def _retries(self) -> int | None:
        return None if self.is_patient else 0

    def link(self, url: str) -> Answer | None:
        if not self._is_ours(url):
            return None
        try:
            return self._read(lambda: self.client.get_url(url, (), self._retries, 0))
        except ApiError as error:
            if error.status in _REFUSED:
                return None
            raise

    def _is_ours(self, url: str) -> bool:
        """Our token goes to the API's own address and nowhere else."""
        try:
            link = _address(url)
        except ValueError:
            return False
        return link == _address(self.client.connection.target.api_url + self.source.path)

    def _get(self, params: Params, slow_retries: int | None = None) -> Answer:
        return self._read(lambda: self.client.get(params, self._retries, slow_retries))

    def _read(self, ask: Callable[[], Reply]) -> Answer:
        for _number in range(_BROKEN_TRIES - 1 if self.is_patient else 0):
            try:
                return self._answer(ask())
            except TransportError as error:
                if error.code != "network.not_json":
                    raise
                self.client.transport.counters.retried += 1
        return self._answer(ask())

    def _answer(self, reply: Reply) -> Answer:
        page = parse_page(reply.body, reply.place, self._first_line, self._event)
        return Answer(page.events, page.rows, page.next_link, reply.status == 206)

    def _first_line(self, body: bytes) -> str:
        return first_line(body, self.client.redactor.text)

    def _event(self, raw: bytes, fields: Fields) -> Event | None:
        return self.source.event(raw, fields) if self.source.is_wanted(fields) else None


def _address(url: str) -> tuple[str, str | None, int, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or 443, parts.path.rstrip("/").lower()
