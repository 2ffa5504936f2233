# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An HTTP proxy for tests: CONNECT, with or without a password, and the ways in which a proxy gets in the way.

It needs nothing but Python: `python3 tests/mock_api/proxy.py --help`.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hmac
import select
import signal
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlsplit

# tunnel: do as asked. login_page: a page of the proxy's own, with status 200, in place of the tunnel. forbidden: 403
# and a page. negotiate: 407, and only a scheme that no password helps with. silent: accept, and never answer.
MODES = ("tunnel", "login_page", "forbidden", "negotiate", "silent")
_BLOCK = 1 << 16
_HEAD_LIMIT = 1 << 16
_PAGE = "<!DOCTYPE html>\n<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n"


class MockProxy:
    """`with MockProxy() as proxy:` listens until the block ends.

    `username`, `password`: ask for them by Basic authentication. `mode`: one of MODES; may be changed at any time.
    `route_to`: where all tunnels really lead ("host:port" or a URL), whatever the client asks for. So a client talks to
    graph.microsoft.com, and reaches the mock tenant.
    """

    def __init__(
        self, username: str = "", password: str = "", mode: str = "tunnel", route_to: str = "", port: int = 0
    ) -> None:
        self.username = username
        self.password = password
        self.mode = mode
        self.route_to = route_to
        self._port = port
        self._tunnels: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._server: _Server | None = None
        if mode not in MODES:
            raise ValueError(f"mode is one of {', '.join(MODES)}, not {mode!r}")

    def start(self) -> MockProxy:
        self._server = _Server(self._port, self._serve)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None

    def __enter__(self) -> MockProxy:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def address(self) -> str:
        if self._server is None:
            raise RuntimeError("the proxy is not running")
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        """With user name and password, where it asks for them."""
        login = f"{quote(self.username, safe='')}:{quote(self.password, safe='')}@" if self.username else ""
        return f"http://{login}{self.address}"

    @property
    def tunnels(self) -> list[dict[str, Any]]:
        """What was asked of it: target, status, user, bytes up and down. No passwords."""
        with self._lock:
            return [dict(entry) for entry in self._tunnels]

    def clear(self) -> None:
        with self._lock:
            self._tunnels.clear()

    # --- one connection --------------------------------------------------------------------------------------------

    def _serve(self, client: socket.socket) -> None:
        head = _read_head(client)
        if not head:
            return
        method, target, headers = _parse(head)
        user = self._user(headers.get("proxy-authorization", ""))
        entry: dict[str, Any] = {"method": method, "target": target, "status": 0, "user": user, "up": 0, "down": 0}
        with self._lock:
            self._tunnels.append(entry)
        if self.mode == "silent":
            while client.recv(_BLOCK):
                pass
            return
        upstream = None
        status, fields, title = self._refusal(method, user)
        if not status:
            status, upstream = self._connect(target)
            title = f"Cannot reach {target}"
        entry["status"] = status
        if upstream is None:
            _answer(client, status, fields, _PAGE.format(title=title))
            return
        with upstream:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            _relay(client, upstream, entry)

    def _user(self, header: str) -> str | None:
        """The user name that was proved; None where none was, or its password is wrong."""
        scheme, _space, value = header.partition(" ")
        try:
            login = base64.b64decode(value)
        except binascii.Error:
            return None
        # No rule says which encoding it is: curl sends UTF-8, the library requests Latin-1.
        try:
            text = login.decode()
        except UnicodeDecodeError:
            text = login.decode("latin-1")
        user, _colon, password = text.partition(":")
        right = hmac.compare_digest(f"{user}:{password}".encode(), f"{self.username}:{self.password}".encode())
        return user if scheme.lower() == "basic" and self.username and right else None

    def _refusal(self, method: str, user: str | None) -> tuple[int, dict[str, str], str]:
        """(status or 0, header fields, title of the page) in place of a tunnel."""
        if self.mode == "login_page":
            return 200, {}, "Proxy sign-in"
        if self.mode == "forbidden":
            return 403, {}, "Access denied by policy"
        if self.mode == "negotiate":
            return 407, {"Proxy-Authenticate": "Negotiate"}, "Proxy authentication required"
        if self.username and user is None:
            return 407, {"Proxy-Authenticate": 'Basic realm="mock proxy"'}, "Proxy authentication required"
        if method != "CONNECT":
            return 405, {"Allow": "CONNECT"}, "This proxy knows CONNECT only"
        return 0, {}, ""

    def _connect(self, target: str) -> tuple[int, socket.socket | None]:
        route = urlsplit(self.route_to if "//" in self.route_to else f"//{self.route_to}").netloc or target
        host, _colon, port = route.rpartition(":")
        try:
            return 200, socket.create_connection((host.strip("[]"), int(port)), timeout=10)
        except (OSError, ValueError):
            return 502, None


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, port: int, serve: Callable[[socket.socket], None]) -> None:
        self._serve = serve
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", port), socketserver.BaseRequestHandler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        try:
            self._serve(request)
        finally:
            with self._lock:
                self._open.discard(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def stop(self) -> None:
        self.shutdown()
        self.server_close()
        with self._lock:
            still_open = list(self._open)
        for connection in still_open:
            try:
                # The other side of the tunnel ends with it.
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


def _read_head(client: socket.socket) -> bytes:
    client.settimeout(30)
    head = b""
    while b"\r\n\r\n" not in head and len(head) < _HEAD_LIMIT:
        block = client.recv(_BLOCK)
        if not block:
            return b""
        head += block
    return head.partition(b"\r\n\r\n")[0]


def _parse(head: bytes) -> tuple[str, str, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target = (*first.split(" "), "", "")[:2]
    fields = (line.partition(":") for line in lines)
    return method, target, {name.strip().lower(): value.strip() for name, _colon, value in fields}


def _answer(client: socket.socket, status: int, fields: dict[str, str], page: str) -> None:
    body = page.encode()
    fields = {
        **fields,
        "Content-Type": "text/html; charset=utf-8",
        "Content-Length": str(len(body)),
        "Connection": "close",
    }
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {text}" for name, text in fields.items())]
    client.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


def _relay(client: socket.socket, upstream: socket.socket, entry: dict[str, Any]) -> None:
    """Both ways, until one side has ended and the other has nothing more to say."""
    ways = {client: (upstream, "up"), upstream: (client, "down")}
    for connection in ways:
        connection.settimeout(60)
    while ways:
        readable, _writable, _failed = select.select(list(ways), [], [])
        for source in readable:
            other, count = ways[source]
            block = source.recv(_BLOCK)
            entry[count] += len(block)
            if block:
                other.sendall(block)
            else:
                del ways[source]
                other.shutdown(socket.SHUT_WR)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="proxy.py", description="A mock HTTP proxy (CONNECT only) on 127.0.0.1.")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: a free one)")
    parser.add_argument("--user", default="", help="ask for this login, written name:password")
    parser.add_argument("--mode", choices=MODES, default="tunnel", help="how it gets in the way (default: not at all)")
    parser.add_argument("--route-to", default="", help="host:port or URL where all tunnels really lead")
    options = parser.parse_args(arguments)
    stop: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda signum, _frame: stop.append(signum))
    name, _colon, password = options.user.partition(":")
    try:
        with MockProxy(name, password, options.mode, options.route_to, options.port) as proxy:
            print(f"mock proxy ready: url={proxy.url}", flush=True)
            while not stop:
                time.sleep(0.1)
    except OSError as error:
        print(f"mock proxy: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
