# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a failed connection is called, and what to change: each fault for real, and no password in any text."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp.config import Connection
from ansible_collections.secops.defender.plugins.module_utils._wdatp.errors import TransportError
from ansible_collections.secops.defender.plugins.module_utils._wdatp.faults import explain
from ansible_collections.secops.defender.plugins.module_utils._wdatp.redact import forms_of
from ansible_collections.secops.defender.plugins.module_utils._wdatp.transport import Transport
from mock_api import MockTenant
from mock_api.proxy import MockProxy

PASSWORD = "pr0xy p@ss/w%rd"


@pytest.fixture
def failure_of(tenant: MockTenant, connection_to: Callable[..., Connection]) -> Callable[..., TransportError]:
    """failure_of(url, **options) -> the error that asking this address ends with, at once."""

    def ask(url: str = "", **options: object) -> TransportError:
        transport = Transport(connection_to(**{"retries": 0, "timeout": 2, **options}).http, sleep=lambda seconds: None)
        with pytest.raises(TransportError) as caught:
            transport.request("GET", (url or tenant.url) + "/v1.0/security/alerts_v2", [("$top", "1")], bearer="t0k3n")
        text = str(caught.value)
        assert "t0k3n" not in text
        assert not [form for form in forms_of(PASSWORD) if form in text]
        assert text.count(". ") <= 4
        return caught.value

    return ask


@pytest.fixture
def silent_port() -> Iterator[str]:
    """Something that accepts connections and says nothing that is TLS."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    client, _address = server.accept()
                except OSError:
                    return
                client.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
                client.close()

        threading.Thread(target=serve, daemon=True).start()
        yield f"https://127.0.0.1:{server.getsockname()[1]}"


def test_a_name_that_dns_does_not_know(failure_of: Callable[..., TransportError]) -> None:
    error = failure_of("https://graph.microsoft.invalid")
    assert error.code == "network.dns"
    assert "graph.microsoft.invalid" in error.message
    assert "host, api_url and authority_url" in error.remedy


def test_a_port_where_nothing_listens(failure_of: Callable[..., TransportError]) -> None:
    error = failure_of("https://127.0.0.1:1")
    assert (error.code, error.message) == ("network.refused", "127.0.0.1:1 refused the connection.")


def test_something_that_is_not_tls(failure_of: Callable[..., TransportError], silent_port: str) -> None:
    error = failure_of(silent_port)
    assert error.code == "network.tls"
    assert silent_port[8:] in error.message


@pytest.mark.parametrize(
    ("certificate", "code", "words"),
    [
        ("expired", "network.tls_expired", "has expired"),
        ("self_signed", "network.tls_untrusted", "not trusted"),
        ("wrong_name", "network.tls_name", "another name"),
    ],
)
def test_certificates(
    tenant: MockTenant, failure_of: Callable[..., TransportError], certificate: str, code: str, words: str
) -> None:
    tenant.configure(server_certificate=certificate)
    error = failure_of()
    assert error.code == code
    assert words in error.message
    assert tenant.url[8:] in error.message


def test_an_unknown_ca_is_said_with_what_was_trusted(
    tenant: MockTenant, failure_of: Callable[..., TransportError], tmp_path: Path
) -> None:
    error = failure_of(ca_path=None)
    assert (error.code, "that requests brings along" in error.remedy) == ("network.tls_untrusted", True)
    assert "Set ca_path" in error.remedy
    other = tmp_path / "other.pem"
    import certifi

    other.write_bytes(Path(certifi.where()).read_bytes())
    error = failure_of(ca_path=str(other))
    assert (error.code, f"ca_path ({other})" in error.remedy) == ("network.tls_untrusted", True)


@pytest.mark.parametrize("content", [b"", b"no certificate\n", b"\x30\x82\x00", b"-----BEGIN CERTIFICATE-----\nAA\n"])
def test_a_ca_file_that_is_none(failure_of: Callable[..., TransportError], tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ca.pem"
    path.write_bytes(content)
    error = failure_of(ca_path=str(path))
    assert error.code == "network.ca_path"
    assert f"ca_path ({path})" in error.message


def test_a_ca_file_of_the_environment_that_is_missing(
    failure_of: Callable[..., TransportError], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "gone.pem"))
    error = failure_of(ca_path=None)
    assert error.code == "network.ca_path"
    assert f"REQUESTS_CA_BUNDLE ({tmp_path / 'gone.pem'})" in error.message


# --- proxies ----------------------------------------------------------------------------------------------------------


def test_a_proxy_is_used_with_its_password(tenant: MockTenant, connection_to: Callable[..., Connection]) -> None:
    with MockProxy("user", PASSWORD) as proxy:
        transport = Transport(connection_to(proxy=proxy.url).http)
        url = tenant.url + "/v1.0/security/alerts_v2"
        assert transport.request("GET", url, bearer=tenant.token()).status == 200
        assert proxy.tunnels[-1]["user"] == "user"
        assert proxy.tunnels[-1]["target"] == tenant.url[8:]


def test_a_proxy_of_the_environment(
    tenant: MockTenant, connection_to: Callable[..., Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    with MockProxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        options = connection_to().http
        url = tenant.url + "/v1.0/security/alerts_v2"
        assert Transport(options).request("GET", url, bearer=tenant.token()).status == 200
        assert len(proxy.tunnels) == 1
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert Transport(options).request("GET", url, bearer=tenant.token()).status == 200
        assert len(proxy.tunnels) == 1


@pytest.mark.parametrize(
    ("mode", "code", "words"),
    [
        ("forbidden", "network.proxy", "refused the connection to {host} (403)"),
        ("negotiate", "network.proxy_auth", "wants a user and a password (407)"),
        ("login_page", "network.tls", "through the proxy"),
        ("silent", "network.", ""),
    ],
)
def test_a_proxy_in_the_way(
    tenant: MockTenant, failure_of: Callable[..., TransportError], mode: str, code: str, words: str
) -> None:
    with MockProxy(mode=mode) as proxy:
        error = failure_of(proxy=proxy.url)
        assert error.code.startswith(code)
        assert words.format(host=tenant.url[8:]) in error.message
        if words:
            assert proxy.address in error.message


def test_a_proxy_that_wants_another_password(failure_of: Callable[..., TransportError]) -> None:
    with MockProxy("user", "the right one") as proxy:
        from urllib.parse import quote

        error = failure_of(proxy=f"http://user:{quote(PASSWORD, safe='')}@{proxy.address}")
    assert error.code == "network.proxy_auth"
    assert proxy_host(error.message)


def proxy_host(text: str) -> bool:
    return "The proxy 127.0.0.1:" in text


def test_a_proxy_that_cannot_reach_the_host(failure_of: Callable[..., TransportError]) -> None:
    with MockProxy() as proxy:
        error = failure_of("https://127.0.0.1:1", proxy=proxy.url)
    assert error.code == "network.proxy"
    assert "can't reach 127.0.0.1:1 (502)" in error.message


@pytest.mark.parametrize("address", ["127.0.0.1:1", "proxy.invalid:3128"])
def test_a_proxy_that_is_not_there(failure_of: Callable[..., TransportError], address: str) -> None:
    error = failure_of(proxy=f"http://user:secretword@{address}")
    assert error.code == "network.proxy"
    assert f"The proxy {address} can't be reached" in error.message
    assert "secretword" not in str(error)


def test_the_proxy_of_the_environment_is_named(
    failure_of: Callable[..., TransportError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secretword@127.0.0.1:1")
    error = failure_of()
    assert "The proxy 127.0.0.1:1 can't be reached" in error.message
    assert "secretword" not in str(error)


@pytest.mark.parametrize("number", [errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EPERM])
def test_a_network_without_a_way(connection_to: Callable[..., Connection], number: int) -> None:
    failure = explain(OSError(number, "no"), "https://h.example/x", connection_to().http)
    assert (failure.error.code, failure.is_connect) == ("network.unreachable", True)


def test_an_unknown_fault_still_says_where(connection_to: Callable[..., Connection]) -> None:
    failure = explain(OSError("https://user:secretword@h"), "https://h.example/x", connection_to().http)
    assert failure.error.message == "The connection to h.example failed (OSError)."
    assert "secretword" not in str(failure.error)
