# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers that end too early and carry no length to tell it by: never taken for whole ones."""

from __future__ import annotations

import gzip
import http.server
import json
import threading
from collections.abc import Callable, Iterator

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp.config import HttpOptions
from ansible_collections.secops.defender.plugins.module_utils._wdatp.errors import TransportError
from ansible_collections.secops.defender.plugins.module_utils._wdatp.page import parse_page
from ansible_collections.secops.defender.plugins.module_utils._wdatp.sources.registry import source_of
from ansible_collections.secops.defender.plugins.module_utils._wdatp.transport import Transport, first_line

ROWS = [{"id": str(number), "lastUpdateDateTime": "2026-11-24T08:00:00Z", "title": "x" * 99} for number in range(50)]
BODY = json.dumps({"value": ROWS}).encode()
PACKED = gzip.compress(BODY)


def _chunks(body: bytes, is_whole: bool = True) -> bytes:
    return b"%x\r\n%s\r\n" % (len(body), body) + (b"0\r\n\r\n" if is_whole else b"")


@pytest.fixture
def serve() -> Iterator[Callable[[dict[str, str], bytes], str]]:
    """serve(headers, bytes) -> the address of a server that answers so, and closes the connection."""
    servers = []

    def start(headers: dict[str, str], payload: bytes) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.send_response(200)
                for name, text in {**headers, "Connection": "close"}.items():
                    self.send_header(name, text)
                self.end_headers()
                self.wfile.write(payload)

            def log_message(self, *args: object) -> None:
                """Nothing."""

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def rows(url: str) -> int:
    source = source_of("graph_alerts")
    reply = Transport(HttpOptions(retries=0)).request("GET", url)
    return parse_page(reply.body, reply.place, first_line, source.event).rows


GZIP, CHUNKED = {"Content-Encoding": "gzip"}, {"Transfer-Encoding": "chunked"}


@pytest.mark.parametrize(
    ("headers", "payload"),
    [
        ({}, BODY),
        (GZIP, PACKED),
        (CHUNKED, _chunks(BODY)),
        ({**GZIP, **CHUNKED}, _chunks(PACKED)),
        ({"Content-Type": "text/html; charset=utf-16"}, BODY),
        ({}, b"\xef\xbb\xbf" + BODY),
    ],
    ids=["plain", "gzip", "chunked", "gzip and chunked", "wrong type", "BOM"],
)
def test_whole_ones(serve: Callable[[dict[str, str], bytes], str], headers: dict[str, str], payload: bytes) -> None:
    assert rows(serve(headers, payload)) == 50


@pytest.mark.parametrize("keep", [0, 1, 12, -200, -9, -1])
@pytest.mark.parametrize(
    ("headers", "payload"),
    [
        ({}, BODY),
        (GZIP, PACKED),
        (CHUNKED, _chunks(BODY)),
        ({**GZIP, **CHUNKED}, _chunks(PACKED)),
        (
            {**GZIP, **CHUNKED},
            b"".join(_chunks(PACKED[at : at + 40], False) for at in range(0, len(PACKED), 40)) + b"0\r\n\r\n",
        ),
    ],
    ids=["plain", "gzip", "chunked", "gzip and chunked", "small chunks"],
)
def test_cut_ones(
    serve: Callable[[dict[str, str], bytes], str], headers: dict[str, str], payload: bytes, keep: int
) -> None:
    """Either there is no answer, or what arrived was all of it: the last bytes of the framing tell nothing."""
    try:
        found = rows(serve(headers, payload[:keep]))
    except TransportError as error:
        assert error.code in ("network.broken", "network.not_json")
    else:
        assert found == 50
        assert keep in (-1, -9)
