# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server's certificate, good and bad, and what TLS clients make of it."""

from __future__ import annotations

import socket
import time

import pytest
import requests
from mock_api import MockTenant
from mock_client import Client

pytestmark = pytest.mark.filterwarnings("ignore:Unverified HTTPS request")


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("expired", "certificate has expired"),
        ("self_signed", "self.signed certificate"),
        ("wrong_name", "(?i)mismatch"),
    ],
)
def test_bad_certificates(tenant: MockTenant, kind: str, text: str) -> None:
    tenant.configure(server_certificate=kind)
    with pytest.raises(requests.exceptions.SSLError, match=text):
        Client(tenant).get("graph_alerts")
    # They are bad for what they are, and not broken.
    unchecked = requests.get(tenant.control_url + "/ready", verify=False, timeout=10)
    assert unchecked.status_code == 200
    tenant.configure(server_certificate="good")
    assert Client(tenant).get("graph_alerts").status_code == 200


def test_an_unknown_ca_is_not_trusted(shared: MockTenant) -> None:
    session = requests.Session()
    session.trust_env = False
    with pytest.raises(requests.exceptions.SSLError, match="verify failed"):
        session.get(shared.url, timeout=10)


def test_localhost_is_a_good_name(shared: MockTenant) -> None:
    url = shared.url.replace("127.0.0.1", "localhost") + "/_mock/ready"
    session = requests.Session()
    session.trust_env = False
    assert session.get(url, verify=shared.ca_path, timeout=10).status_code == 200


def test_a_client_that_is_slow_or_silent_holds_up_nobody(shared: MockTenant, client: Client) -> None:
    host, port = shared.url.removeprefix("https://").split(":")
    with socket.create_connection((host, int(port))) as silent, socket.create_connection((host, int(port))) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
        started = time.monotonic()
        assert client.get("graph_alerts", {"$top": "1"}).status_code == 200
        assert time.monotonic() - started < 2
        assert silent.fileno() > 0
