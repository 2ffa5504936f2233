# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rendered pages are kept, so that a client that asks for the same again measures itself and not the mock."""

from __future__ import annotations

import gzip
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from .config import TenantConfig
from .dataset import Dataset
from .messages import Request, Response

# Small answers gain nothing from compression.
_WORTH_IT = 1000


def compress(request: Request, response: Response, wanted: bool) -> Response:
    body = response.payload()
    if (
        wanted
        and not response.gzipped
        and len(body) > _WORTH_IT
        and "gzip" in request.header("Accept-Encoding").lower()
    ):
        response.body = gzip.compress(body, compresslevel=1, mtime=0)
        response.headers = {**response.headers, "Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
        response.gzipped = True
    return response


class PageCache:
    def __init__(self, config: TenantConfig) -> None:
        self.config = config
        self._pages: OrderedDict[tuple[Any, ...], Response] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def answer(self, request: Request, dataset: Dataset, make: Callable[[], Response]) -> Response:
        """A kept page, or a new one. A request with a fault always gets a new one, which the fault may change."""
        if not self.config.cache_megabytes or request.has_fault:
            return make()
        key = self._key(request, dataset)
        with self._lock:
            kept = self._pages.get(key)
            if kept is not None:
                self._pages.move_to_end(key)
                return replace(kept, headers=dict(kept.headers))
        response = make()
        if not response.cacheable:
            return response
        compress(request, response, self.config.gzip)
        self._keep(key, replace(response, headers=dict(response.headers)))
        return response

    def _keep(self, key: tuple[Any, ...], response: Response) -> None:
        with self._lock:
            if key in self._pages:
                self._bytes -= len(self._pages.pop(key).body)
            self._pages[key] = response
            self._bytes += len(response.body)
            # By size, not by number: a page may have some hundred bytes or fifty million.
            while self._bytes > self.config.cache_megabytes * 1_000_000:
                _key, oldest = self._pages.popitem(last=False)
                self._bytes -= len(oldest.body)

    def _key(self, request: Request, dataset: Dataset) -> tuple[Any, ...]:
        config = self.config
        knobs = (config.links, config.link_style, config.link_last, config.mde_orderby, config.shuffle_exporter)
        limits = (tuple(config.page_limits.items()), tuple(config.skip_limits.items()))
        wishes = (request.header("Prefer"), request.header("Accept-Encoding"), config.gzip)
        # Two APIs share the path /api/alerts: the leg tells their pages apart.
        asked = (request.leg, request.path, request.query_text, request.base_url)
        return (dataset.serial, dataset.version, asked, wishes, knobs, limits)
