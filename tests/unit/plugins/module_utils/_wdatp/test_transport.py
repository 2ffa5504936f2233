# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Retries and their waits, time, encodings, trust: against the mock tenant, with a clock nobody has to wait for."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp import transport as transport_module
from ansible_collections.secops.defender.plugins.module_utils._wdatp.config import Connection, HttpOptions
from ansible_collections.secops.defender.plugins.module_utils._wdatp.errors import TransportError
from ansible_collections.secops.defender.plugins.module_utils._wdatp.times import SECOND, now_ticks
from ansible_collections.secops.defender.plugins.module_utils._wdatp.transport import (
    LONGEST_WAIT_SECONDS,
    Transport,
    encode_query,
    first_line,
    place,
)
from mock_api import MockTenant

Connect = Callable[..., Connection]
PATH = "/v1.0/security/alerts_v2"


class Wire:
    """A transport to the mock tenant that notes its waits in place of waiting."""

    def __init__(self, tenant: MockTenant, options: HttpOptions, deadline: float | None = None) -> None:
        self.waits: list[float] = []
        self.said: list[str] = []
        self.transport = Transport(options, self.said.append, deadline, self.waits.append)
        self.url = tenant.url + PATH
        self.token = tenant.token()

    def get(self, **more: Any) -> Any:
        return self.transport.request("GET", self.url, [("$top", "5")], bearer=self.token, **more)


@pytest.fixture
def wire(tenant: MockTenant, connection_to: Connect) -> Callable[..., Wire]:
    def make(deadline: float | None = None, **options: Any) -> Wire:
        return Wire(tenant, connection_to(**options).http, deadline)

    return make


def fail(tenant: MockTenant, times: int = 1000, **do: Any) -> None:
    tenant.set_faults([{"match": {"leg": "api", "times": times}, "do": do}])


# --- retries ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_passing_status_is_tried_again(tenant: MockTenant, wire: Callable[..., Wire], status: int) -> None:
    fail(tenant, times=2, status=status)
    one = wire()
    reply = one.get()
    assert reply.status == 200
    assert len(json.loads(reply.body)["value"]) == 5
    counters = one.transport.counters
    assert (counters.requests, counters.retried, counters.throttled) == (3, 2, 2 if status == 429 else 0)
    assert len(one.waits) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 501])
def test_a_lasting_status_is_an_answer(tenant: MockTenant, wire: Callable[..., Wire], status: int) -> None:
    fail(tenant, status=status)
    one = wire()
    assert one.get().status == status
    assert (one.transport.counters.requests, one.waits) == (1, [])


def test_waits_rise_where_the_server_asks_for_none(tenant: MockTenant, wire: Callable[..., Wire]) -> None:
    fail(tenant, status=503)
    one = wire(retries=5)
    assert one.get().status == 503
    assert one.transport.counters.requests == 6
    assert len(one.waits) == 5
    assert one.waits == sorted(one.waits)
    assert one.waits[-1] > one.waits[1] >= 0.5
    assert max(one.waits) <= 60


@pytest.mark.parametrize("status", [429, 503])
def test_the_wait_is_what_the_server_asks_for(tenant: MockTenant, wire: Callable[..., Wire], status: int) -> None:
    fail(tenant, times=1, status=status, retry_after=17)
    one = wire()
    assert one.get().status == 200
    assert one.waits == [17.0]
    assert one.said == [f"{place(one.url)}: waiting 17 s before another try (HTTP {status})."]


@pytest.mark.parametrize("skew", [0, 4000, -4000])
def test_a_date_to_wait_for_is_read_by_the_servers_clock(
    tenant: MockTenant, wire: Callable[..., Wire], skew: int
) -> None:
    tenant.configure(clock_skew_seconds=skew)
    fail(tenant, times=1, status=429, retry_after="date:30")
    one = wire()
    one.token = tenant.token()
    assert one.get().status == 200
    assert 28 <= one.waits[0] <= 31


@pytest.mark.parametrize("nonsense", ["soon", "-5", "1e3", "\u0665"])
def test_nonsense_to_wait_for_is_as_none(tenant: MockTenant, wire: Callable[..., Wire], nonsense: str) -> None:
    # Header bytes are Latin-1; what is outside of it can't come over a wire.
    text = nonsense if nonsense.isascii() else "?"
    fail(tenant, times=1, status=429, retry_after=text)
    one = wire()
    assert one.get().status == 200
    assert one.waits[0] < 5


def test_nobody_waits_for_ever(tenant: MockTenant, wire: Callable[..., Wire]) -> None:
    fail(tenant, status=429, retry_after=int(LONGEST_WAIT_SECONDS) + 1)
    one = wire()
    assert one.get().status == 429
    assert (one.waits, one.transport.counters.throttled) == ([], 1)


def test_no_wait_goes_beyond_the_deadline(tenant: MockTenant, wire: Callable[..., Wire]) -> None:
    fail(tenant, status=429, retry_after=60)
    assert wire(deadline=time.monotonic() + 30).get().status == 429
    patient = wire(deadline=time.monotonic() + 90, retries=1)
    assert patient.get().status == 429
    assert patient.waits == [60.0]


def test_no_retries_are_none(tenant: MockTenant, wire: Callable[..., Wire]) -> None:
    fail(tenant, status=503)
    one = wire(retries=0)
    assert one.get().status == 503
    assert one.transport.counters.requests == 1


def test_a_caller_may_want_the_status_itself(tenant: MockTenant, wire: Callable[..., Wire]) -> None:
    fail(tenant, status=503)
    one = wire()
    assert one.get(retry_status=False).status == 503
    assert one.transport.counters.requests == 1


@pytest.mark.parametrize("fault", [{"truncate": 100}, {"reset": True}])
def test_a_broken_answer_is_asked_for_again(
    tenant: MockTenant, wire: Callable[..., Wire], fault: dict[str, Any]
) -> None:
    fail(tenant, times=2, **fault)
    one = wire()
    assert len(json.loads(one.get().body)["value"]) == 5
    assert (one.transport.counters.requests, one.transport.counters.retried) == (3, 2)
    fail(tenant, **fault)
    with pytest.raises(TransportError) as caught:
        wire(retries=1).get()
    assert caught.value.code == "network.broken"


def test_refused_connections_are_not_tried_for_long(tenant: MockTenant, wire: Callable[..., Wire]) -> None:
    one = wire(retries=5)
    one.url = "https://127.0.0.1:1/x"
    with pytest.raises(TransportError) as caught:
        one.get()
    assert caught.value.code == "network.refused"
    assert one.transport.counters.requests == 3


# The slower one: for seconds there is nothing to decompress.
@pytest.mark.parametrize("rate", [200, 5])
def test_an_answer_that_trickles_is_given_up(
    tenant: MockTenant, wire: Callable[..., Wire], monkeypatch: pytest.MonkeyPatch, rate: int
) -> None:
    # A tenth of the real patience, and an answer that would take minutes without ever pausing for a second.
    monkeypatch.setattr(transport_module, "_PATIENCE", 1)
    # Where urllib3 waits for whole chunks, the end comes one chunk later.
    monkeypatch.setattr(transport_module, "_SMALL_CHUNK", 256)
    fail(tenant, drip=rate)
    one = wire(retries=0, timeout=1)
    started = time.monotonic()
    with pytest.raises(TransportError) as caught:
        one.get()
    assert caught.value.code == "network.timeout"
    assert time.monotonic() - started < 5


def test_a_silent_server_is_given_up(tenant: MockTenant, wire: Callable[..., Wire]) -> None:
    fail(tenant, delay=5)
    started = time.monotonic()
    with pytest.raises(TransportError) as caught:
        wire(retries=0, timeout=1).get()
    assert caught.value.code == "network.timeout"
    assert time.monotonic() - started < 4


# --- what is sent, what comes -----------------------------------------------------------------------------------------


def test_answers_come_compressed_and_whole(tenant: MockTenant, wire: Callable[..., Wire]) -> None:
    one = wire()
    one.transport.request("GET", one.url, [("$top", "40")], bearer=one.token)
    reply = one.transport.request("GET", one.url, [("$top", "40")], bearer=one.token)
    sent = tenant.requests[-1]
    assert reply.headers["Content-Encoding"] == "gzip"
    assert reply.body[:1] == b"{"
    assert sent["bytes"] < len(reply.body)
    assert len(json.loads(reply.body)["value"]) == 40
    # The session keeps its connection.
    assert one.transport.counters.requests == 2


def test_broken_compression_is_a_broken_answer(tenant: MockTenant, wire: Callable[..., Wire]) -> None:
    fail(tenant, body="not gzip at all", headers={"Content-Encoding": "gzip"})
    tenant.configure(gzip=False)
    try:
        with pytest.raises(TransportError) as caught:
            wire(retries=0).get()
    finally:
        tenant.configure(gzip=True)
    assert caught.value.code == "network.broken"


def test_the_user_agent_tells_who_asks(tenant: MockTenant, wire: Callable[..., Wire]) -> None:
    wire().get()
    agent = tenant.requests[-1]["headers"]["User-Agent"]
    assert agent.startswith("secops.defender/")
    assert "python-requests/" in agent


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(tenant: MockTenant, wire: Callable[..., Wire], status: int) -> None:
    fail(tenant, times=1, status=status, body="", headers={"Location": f"{tenant.url}/elsewhere"})
    assert wire().get().status == status
    assert [entry["path"] for entry in tenant.requests] == [PATH]


def test_netrc_does_not_replace_the_token(
    tenant: MockTenant, wire: Callable[..., Wire], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password else\n", encoding="ascii")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".netrc").write_bytes(netrc.read_bytes())
    import requests

    assert requests.utils.get_netrc_auth(tenant.url) == ("somebody", "else")
    assert wire().get().status == 200


def test_the_explicit_ca_wins_over_the_environment(
    tenant: MockTenant, wire: Callable[..., Wire], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import certifi

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certifi.where())
    monkeypatch.setenv("CURL_CA_BUNDLE", str(tmp_path / "missing"))
    assert wire().get().status == 200
    with pytest.raises(TransportError) as caught:
        wire(ca_path=None).get()
    assert caught.value.code == "network.tls_untrusted"
    assert f"REQUESTS_CA_BUNDLE ({certifi.where()})" in caught.value.remedy
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", tenant.ca_path)
    assert wire(ca_path=None).get().status == 200


def test_checks_can_be_switched_off(tenant: MockTenant, wire: Callable[..., Wire], recwarn: Any) -> None:
    tenant.configure(server_certificate="self_signed")
    assert wire(ca_path=None, validate_certs=False).get().status == 200
    assert not [item for item in recwarn if "Unverified" in str(item.message)]


def test_time_is_the_servers(tenant: MockTenant, wire: Callable[..., Wire]) -> None:
    one = wire()
    assert abs(one.transport.server_now() - now_ticks()) < SECOND
    tenant.configure(clock_skew_seconds=-7200)
    one.token = tenant.token()
    one.get()
    assert abs(one.transport.server_now() - (now_ticks() - 7200 * SECOND)) < 2 * SECOND


def test_closing_twice_is_fine(wire: Callable[..., Wire]) -> None:
    one = wire()
    one.get()
    one.transport.close()
    one.transport.close()
    assert one.get().status == 200


# --- the way ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "environment", "found"),
    [
        (None, {}, None),
        ("http://own:3128", {}, "http://own:3128"),
        (None, {"HTTPS_PROXY": "http://env:8080"}, "http://env:8080"),
        (None, {"https_proxy": "env:8080"}, "http://env:8080"),
        (None, {"HTTPS_PROXY": "http://env:8080", "NO_PROXY": ".microsoft.com"}, None),
        ("http://own:3128", {"HTTPS_PROXY": "http://env:8080", "NO_PROXY": "*"}, "http://own:3128"),
        (None, {"HTTP_PROXY": "http://plain:80"}, None),
    ],
)
def test_the_proxy_is_the_options_or_the_environments(
    option: str | None,
    environment: dict[str, str],
    found: str | None,
    clean_environment: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, text in environment.items():
        monkeypatch.setenv(name, text)
    assert Transport(HttpOptions(proxy=option)).route("https://graph.microsoft.com") == (found, True)


# --- texts ------------------------------------------------------------------------------------------------------------


def test_queries_stay_readable() -> None:
    params = [("$filter", "lastUpdateDateTime ge 2026-01-01T00:00:00.0000001Z and title eq 'a&b+c'"), ("$top", "5")]
    assert encode_query(params) == (
        "$filter=lastUpdateDateTime%20ge%202026-01-01T00:00:00.0000001Z%20and%20title%20eq%20'a%26b%2Bc'&$top=5"
    )


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (b"", ""),
        (b"\r\n \n", ""),
        (b"\xef\xbb\xbf<!DOCTYPE html>\n<html>", "<!DOCTYPE html>"),
        (b"\n\n  second\nthird", "second"),
        (b"a\x00b\x1b[31mc", "a?b?[31mc"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"x" * 5000, "x" * 160),
    ],
)
def test_the_first_line_of_anything(body: bytes, line: str) -> None:
    assert first_line(body) == line


def test_places_hold_no_query() -> None:
    assert place("https://h.example:1/a/b?secret=1") == "h.example:1/a/b"
