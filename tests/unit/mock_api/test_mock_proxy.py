# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proxy: tunnels, passwords, and the ways in which it gets in the way."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import msal
import pytest
import requests
from mock_api import MockProxy, MockTenant
from mock_api import proxy as proxy_module
from mock_client import Client

REFUSED = (requests.exceptions.ProxyError, requests.exceptions.SSLError)


def through(proxy: MockProxy, tenant: MockTenant, url: str = "", **login: str) -> requests.Response:
    client = Client(tenant)
    address = proxy.url if not login else f"http://{login['user']}:{login['password']}@{proxy.address}"
    client.session.proxies = {"https": address}
    return client.fetch((url or tenant.url) + "/v1.0/security/alerts_v2?$top=3", client.headers("graph_alerts"))


def test_a_tunnel(shared: MockTenant) -> None:
    with MockProxy() as proxy:
        assert through(proxy, shared).status_code == 200
        (tunnel,) = proxy.tunnels
        assert (tunnel["method"], tunnel["target"]) == ("CONNECT", shared.url.removeprefix("https://"))
        assert (tunnel["status"], tunnel["user"]) == (200, None)
        assert tunnel["up"] > 500 < tunnel["down"]
        proxy.clear()
        assert proxy.tunnels == []


def test_a_password(shared: MockTenant) -> None:
    with MockProxy("joe@corp", "p:ss wörd/") as proxy:
        assert through(proxy, shared).status_code == 200
        for login in ({"user": "joe", "password": "x"}, {"user": "joe%40corp", "password": ""}):
            with pytest.raises(REFUSED, match="407 Proxy Authentication Required"):
                through(proxy, shared, **login)
        assert [(tunnel["status"], tunnel["user"]) for tunnel in proxy.tunnels] == [
            (200, "joe@corp"),
            (407, None),
            (407, None),
        ]
        assert "ss w" not in str(proxy.tunnels)


def test_microsofts_own_names(shared: MockTenant) -> None:
    """The tenant's certificate is good for them, and the proxy knows where they really are."""
    with MockProxy(route_to=shared.url) as proxy:
        assert through(proxy, shared, "https://graph.microsoft.com").status_code == 200
        assert through(proxy, shared, "https://api.security.microsoft.com").status_code == 404
        assert [tunnel["target"] for tunnel in proxy.tunnels] == [
            "graph.microsoft.com:443",
            "api.security.microsoft.com:443",
        ]


def test_msal_at_microsofts_own_address(shared: MockTenant) -> None:
    """With all that MSAL asks there on its own."""
    with MockProxy(route_to=shared.url) as proxy:
        app = msal.ConfidentialClientApplication(
            shared.client_id,
            client_credential=shared.client_secret,
            authority=f"https://login.microsoftonline.com/{shared.tenant_id}",
            verify=shared.ca_path,
            proxies={"https": proxy.url},
        )
        found = app.acquire_token_for_client(scopes=["https://graph.microsoft.com/.default"])
        assert found["token_type"] == "Bearer"
        assert {tunnel["target"] for tunnel in proxy.tunnels} == {"login.microsoftonline.com:443"}


@pytest.mark.parametrize(
    ("mode", "text"),
    [
        ("login_page", "(?i)ssl|wrong version|record layer"),
        ("forbidden", "403 Forbidden"),
        ("negotiate", "407 Proxy Authentication Required"),
    ],
)
def test_in_the_way(shared: MockTenant, mode: str, text: str) -> None:
    with MockProxy(mode=mode) as proxy:
        with pytest.raises(REFUSED, match=text):
            through(proxy, shared)
        page = requests.get("http://any.example/", proxies={"http": proxy.url}, timeout=5)
        assert page.headers["Content-Type"].startswith("text/html")
        assert page.text.startswith("<!DOCTYPE html>")
        assert page.headers.get("Proxy-Authenticate") == ("Negotiate" if mode == "negotiate" else None)
        proxy.mode = "tunnel"
        assert through(proxy, shared).status_code == 200


def test_silence(shared: MockTenant) -> None:
    with MockProxy(mode="silent") as proxy, socket.create_connection(("127.0.0.1", int(proxy.address[10:]))) as client:
        client.sendall(b"CONNECT a.example:443 HTTP/1.1\r\n\r\n")
        client.settimeout(0.2)
        with pytest.raises(OSError, match="timed out"):
            client.recv(1)


def test_a_target_that_is_not_there(shared: MockTenant) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with MockProxy() as proxy:
        with pytest.raises(REFUSED, match="502 Bad Gateway"):
            through(proxy, shared, f"https://127.0.0.1:{port}")
        assert requests.get("http://any.example/", proxies={"http": proxy.url}, timeout=5).status_code == 405


def test_it_ends_with_its_tunnels(shared: MockTenant) -> None:
    host, port = shared.url.removeprefix("https://").split(":")
    with MockProxy() as proxy:
        client = socket.create_connection(("127.0.0.1", int(proxy.address[10:])))
        client.sendall(f"CONNECT {host}:{port} HTTP/1.1\r\n\r\n".encode())
        assert client.recv(100).startswith(b"HTTP/1.1 200 ")
    with client:
        client.settimeout(5)
        assert client.recv(1) == b""


def test_a_mode_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match="mode is one of tunnel, login_page"):
        MockProxy(mode="helpful")


def test_the_command_line(shared: MockTenant) -> None:
    command = [sys.executable, str(Path(proxy_module.__file__)), "--user", "joe:secret", "--route-to", shared.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        url = line.removeprefix("mock proxy ready: url=")
        client = Client(shared)
        client.session.proxies = {"https": url}
        answer = client.fetch("https://graph.microsoft.com/v1.0/security/alerts_v2", client.headers("graph_alerts"))
        assert answer.status_code == 200
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(10) == 0
