# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTPS on 127.0.0.1: connections, headers, keep-alive, compression, and the faults that happen on the wire."""

from __future__ import annotations

import socket
import socketserver
import ssl
import struct
import sys
import threading
import time
import traceback
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from .clock import Clock
from .faults import Fault
from .messages import Request, Response, json_response

_BLOCK = 1 << 16

# The answer, and the fault that shall happen to it.
Answer = Callable[[Request], tuple[Response, "Fault | None"]]
Record = Callable[[Request, int, float, int], None]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = _BLOCK
    # A forgotten connection ends by itself.
    timeout = 300
    server: HttpsServer

    def _handle(self) -> None:
        started = time.monotonic()
        length = int(self.headers.get("Content-Length") or 0)
        path, _mark, query = self.path.partition("?")
        request = Request(
            method=self.command,
            path=path,
            query_text=query,
            headers=self.headers,
            body=self.rfile.read(length) if length else b"",
            base_url=f"https://{self.headers.get('Host') or self.server.address}",
            connection=self.client_address[1],
            client_address=self.client_address[0],
            client_certificate=self.connection.getpeercert(binary_form=True) or b"",
        )
        response, fault = self._answer(request)
        self._deliver(request, response, fault, started)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = _handle

    def _answer(self, request: Request) -> tuple[Response, Fault | None]:
        try:
            return self.server.answer(request)
        except Exception as error:
            # A bug in the mock must not look like a network fault to the client under test.
            traceback.print_exc()
            return json_response(
                {"error": f"the mock tenant itself failed: {type(error).__name__}: {error}"}, 500
            ), None

    def _deliver(self, request: Request, response: Response, fault: Fault | None, started: float) -> None:
        if fault and fault.delay:
            self.server.stopping.wait(fault.delay)
        if fault and fault.reset:
            self.server.record(request, 0, started, 0)
            self._abort()
            return
        headers = {
            "Date": self.server.clock.http_date(),
            "request-id": request.request_id,
            "client-request-id": self.headers.get("client-request-id") or request.request_id,
            "x-ms-ags-diagnostic": '{"ServerInfo":{"DataCenter":"Mock","Slice":"E","Ring":"1","ScaleUnit":"000"}}',
            "Strict-Transport-Security": "max-age=31536000",
            **response.headers,
        }
        if response.stream is not None:
            self._send_stream(response, headers)
            return
        body = response.payload()
        headers["Content-Length"] = str(len(body))
        whole = body if fault is None or fault.truncate is None else body[: fault.truncate]
        if self.command == "HEAD":
            whole = b""
        # Before the first byte leaves: a test that has its answer finds the request in the log.
        self.server.record(request, response.status, started, len(whole))
        self._send_head(response.status, headers)
        if fault and fault.drip:
            self._drip(whole, fault.drip)
        else:
            self.wfile.write(whole)
        self.wfile.flush()
        if fault and fault.truncate is not None:
            self._abort()

    def _send_head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response_only(status)
        for name, text in headers.items():
            self.send_header(name, text)
        self.end_headers()

    def _send_stream(self, response: Response, headers: dict[str, str]) -> None:
        self._send_head(response.status, {**headers, "Transfer-Encoding": "chunked"})
        for block in response.stream or ():
            if block:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(block), block))
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def _drip(self, body: bytes, rate: float) -> None:
        """So many bytes a second, twenty portions a second."""
        step = max(1, int(rate / 20))
        for start in range(0, len(body), step):
            self.wfile.write(body[start : start + step])
            self.wfile.flush()
            if self.server.stopping.wait(step / rate):
                return

    def _abort(self) -> None:
        """Close at once, so that the client sees a reset and not an orderly end."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the requests are in the log of the control interface."""


class HttpsServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, certificate: Path, clock: Clock, answer: Answer, record: Record, port: int = 0) -> None:
        self.use_certificate(certificate)
        super().__init__(("127.0.0.1", port), _Handler)
        self.clock = clock
        self.answer = answer
        self.record = record
        self.stopping = threading.Event()
        self.address = f"127.0.0.1:{self.server_address[1]}"
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()

    def use_certificate(self, path: Path, client_ca: Path | None = None, is_demanded: bool = False) -> None:
        """From the next connection on. `client_ca`: clients are asked for a certificate of this CA. `is_demanded`: and
        without one, there is no connection."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        if client_ca is not None:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_REQUIRED if is_demanded else ssl.CERT_OPTIONAL
        self._context = context

    def server_bind(self) -> None:
        # Not HTTPServer's: it looks up the host's full name, which takes seconds where no name server answers.
        socketserver.TCPServer.server_bind(self)

    def finish_request(self, request: Any, client_address: Any) -> None:
        # The handshake belongs into the connection's own thread: a slow client must not hold up the others.
        request.settimeout(30)
        with self._context.wrap_socket(request, server_side=True) as connection:
            with self._open_lock:
                self._open.add(connection)
            try:
                super().finish_request(connection, client_address)
            finally:
                with self._open_lock:
                    self._open.discard(connection)

    def shutdown_request(self, request: Any) -> None:
        """Wrapping detached the plain socket, so there is nothing left to shut down."""
        self.close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away, or does not trust the CA, is no fault of the mock; anything else is one."""
        if not isinstance(sys.exc_info()[1], (OSError, ValueError)):
            super().handle_error(request, client_address)

    def stop(self) -> None:
        self.stopping.set()
        self.shutdown()
        self.server_close()
        with self._open_lock:
            still_open = list(self._open)
        for connection in still_open:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                # It was closed from the other side in the meantime.
                continue
