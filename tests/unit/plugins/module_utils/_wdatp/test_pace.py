# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pace of requests: never above a limit in any window, fair between processes, and a hold that all heed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp.client import Client
from ansible_collections.secops.defender.plugins.module_utils._wdatp.config import Connection, resolve_one
from ansible_collections.secops.defender.plugins.module_utils._wdatp.errors import ApiError
from ansible_collections.secops.defender.plugins.module_utils._wdatp.pace import Limit, Pace, limits_of
from ansible_collections.secops.defender.plugins.module_utils._wdatp.redact import Redactor
from ansible_collections.secops.defender.plugins.module_utils._wdatp.runtime import Runtime
from ansible_collections.secops.defender.plugins.module_utils._wdatp.sources.registry import source_of
from ansible_collections.secops.defender.plugins.module_utils._wdatp.transport import LONGEST_WAIT_SECONDS, Transport
from mock_api import MockTenant

APIS = ("graph_alerts", "graph_incidents", "mde_alerts", "alert_exporter")
APP = {"tenant_id": "11111111-0000-0000-0000-000000000000", "client_id": "22222222-0000-0000-0000-000000000000"}


class Host:
    """A host whose clock only its runs' waits move."""

    def __init__(self, directory: Path, connection: Connection) -> None:
        self.now = 1000.0
        self._directory = directory
        self._connection = connection

    def pace(self, *limits: Limit, api: str = "graph_alerts") -> Pace:
        """That of one more run."""
        runtime = Runtime([str(self._directory)], clock=lambda: self.now)
        return Pace(runtime.notebook(self._connection), api, limits)

    def send(self, pace: Pace, longest: float = 1e9) -> float:
        """One request; when it goes out."""
        self.now += pace.take(longest).seconds
        return self.now


@pytest.fixture
def host(runtime_dir: Path, tmp_path: Path) -> Host:
    return Host(runtime_dir, connect(config_dir=str(tmp_path)))


def connect(**options: Any) -> Connection:
    return resolve_one({**APP, "client_secret": "any-secret", **options}, {})


def most_within(times: list[float], seconds: float) -> int:
    """The most requests in any stretch of so many seconds."""
    return max(sum(1 for other in times if time <= other < time + seconds) for time in times)


# --- one run ---------------------------------------------------------------------------------------------------------


def test_a_burst_passes_and_the_rest_waits(host: Host) -> None:
    pace = host.pace(Limit(5, 60))
    times = [host.send(pace) for _number in range(23)]
    assert times[:5] == [1000.0] * 5
    assert most_within(times, 60.0) == 5
    # No longer than it takes: the slack is a second in each minute.
    assert times[-1] - times[0] == pytest.approx(4 * 61.0, abs=0.1)


def test_several_limits_hold_together(host: Host) -> None:
    pace = host.pace(Limit(3, 60), Limit(5, 3600))
    times = [host.send(pace) for _number in range(12)]
    assert most_within(times, 60.0) == 3
    assert most_within(times, 3600.0) == 5


def test_a_wait_that_is_too_long_takes_no_place(host: Host) -> None:
    pace = host.pace(Limit(1, 60))
    host.send(pace)
    for _number in range(3):
        with pytest.raises(ApiError, match="61 s: 1 requests in 60 s") as caught:
            pace.take(30.0)
    assert (caught.value.code, caught.value.status) == ("api.paced", 429)
    assert pace.take(100.0).seconds == pytest.approx(61.0)


def test_a_run_whose_time_is_over_may_send_what_need_not_wait(host: Host) -> None:
    assert host.pace(Limit(1, 60)).take(-5.0).seconds == 0


def test_without_a_limit_nothing_is_noted(host: Host, runtime_dir: Path) -> None:
    pace = host.pace()
    assert [host.send(pace) for _number in range(300)] == [1000.0] * 300
    assert list(runtime_dir.iterdir()) == []


# --- several runs ----------------------------------------------------------------------------------------------------


def test_runs_keep_a_limit_together(host: Host) -> None:
    limit = Limit(6, 60)
    times = [host.send(host.pace(limit)) for _number in range(20)]
    assert most_within(times, 60.0) == 6


def test_places_are_taken_in_turn(host: Host) -> None:
    """Each of two runs takes its place before it waits, so neither gets ahead of the other."""
    limit = Limit(1, 60)
    one, other = host.pace(limit), host.pace(limit)
    waits = [pace.take(1e9).seconds for pace in (one, other, one, other)]
    assert waits == pytest.approx([0, 61, 122, 183], abs=0.01)


def test_apis_have_limits_of_their_own(host: Host) -> None:
    limit = Limit(1, 60)
    assert [host.pace(limit, api=api).take(1e9).seconds for api in APIS] == [0, 0, 0, 0]


def test_a_run_without_a_limit_heeds_a_hold(host: Host) -> None:
    host.pace().hold(20.0)
    wait = host.pace().take(1e9)
    assert (round(wait.seconds, 3), wait.why) == (20.0, "the API asked for it when another run was too fast")
    assert host.pace(api="mde_alerts").take(1e9).seconds == 0
    host.now += 20
    assert host.pace().take(1e9).seconds == 0


def test_who_was_asked_itself_is_not_told_again(host: Host) -> None:
    """The transport waits for the answer's own Retry-After; a longer hold of another run counts all the same."""
    asked = host.pace()
    asked.hold(20.0)
    assert asked.take(1e9).seconds == 0
    host.pace().hold(30.0)
    assert asked.take(1e9).seconds == pytest.approx(30.0)


def test_a_shorter_hold_does_not_end_a_longer_one(host: Host) -> None:
    host.pace().hold(30.0)
    host.pace().hold(5.0)
    assert host.pace().take(1e9).seconds == pytest.approx(30.0)


def test_a_hold_of_days_is_a_mistake(host: Host) -> None:
    host.pace().hold(1e6)
    assert host.pace().take(1e9).seconds == pytest.approx(3600.0)


# --- which limits ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "limits"),
    [
        ({}, [(150, 60)]),
        ({"api": "mde_alerts"}, [(100, 60), (1500, 3600)]),
        ({"host": "eu.api.security.microsoft.com"}, [(100, 60), (1500, 3600)]),
        ({"api": "graph_incidents"}, []),
        ({"api": "alert_exporter"}, []),
        ({"cloud": "gcc_high"}, [(150, 60)]),
        ({"api_url": "https://graph.microsoft.com"}, [(150, 60)]),
        ({"api_url": "https://graph.example"}, []),
        ({"host": "graph.example"}, []),
        ({"api_url": "https://graph.example", "requests_per_minute": 7}, [(7, 60)]),
        ({"api": "mde_alerts", "requests_per_minute": 300}, [(300, 60)]),
    ],
)
def test_limits(tmp_path: Path, options: dict[str, Any], limits: list[tuple[int, int]]) -> None:
    connection = connect(config_dir=str(tmp_path), **options)
    assert limits_of(connection, source_of(connection.target.api)) == limits


# --- over the wire ---------------------------------------------------------------------------------------------------


class Run:
    """A client whose waits move its host's clock."""

    def __init__(self, host: Host, connection: Connection, *limits: Limit, deadline: float | None = None) -> None:
        self.said: list[str] = []
        self.host = host
        transport = Transport(connection.http, self.said.append, deadline, self._sleep)
        self.client = Client(connection, source_of("graph_alerts"), transport, Redactor())
        self.client.pace = host.pace(*limits)

    def _sleep(self, seconds: float) -> None:
        self.host.now += seconds

    def ask(self) -> int:
        return self.client.get(self.client.source.probe_params(self.client.transport.server_now())).status


@pytest.fixture
def run(host: Host, connection_to: Callable[..., Connection]) -> Callable[..., Run]:
    return lambda *limits, **more: Run(host, connection_to(), *limits, **more)


def test_each_try_takes_a_place(tenant: MockTenant, run: Callable[..., Run]) -> None:
    tenant.set_faults([{"match": {"leg": "api", "times": 2}, "do": {"status": 500}}])
    one = run(Limit(2, 60))
    assert one.ask() == 200
    assert one.host.now >= 1061


def test_tokens_take_no_place(run: Callable[..., Run]) -> None:
    one = run(Limit(1, 60))
    one.client.auth.token()
    assert one.ask() == 200
    assert one.host.now == 1000


def test_a_long_wait_is_said_once(run: Callable[..., Run]) -> None:
    one = run(Limit(1, 60))
    for _number in range(4):
        one.ask()
    assert len(one.said) == 1
    assert "waiting 61 s (1 requests in 60 s are the limit of this app and tenant)" in one.said[0]


def test_a_wait_beyond_the_deadline_ends_the_run(tenant: MockTenant, run: Callable[..., Run]) -> None:
    one = run(Limit(1, 60), deadline=time.monotonic() + 20)
    one.ask()
    with pytest.raises(ApiError) as caught:
        one.ask()
    assert caught.value.code == "api.paced"
    assert [entry["leg"] for entry in tenant.requests].count("graph_alerts") == 1


@pytest.mark.parametrize("status", [429, 503])
def test_a_hold_reaches_the_next_run(tenant: MockTenant, run: Callable[..., Run], status: int) -> None:
    tenant.set_faults([{"match": {"leg": "api", "times": 1}, "do": {"status": status, "retry_after": 400}}])
    with pytest.raises(ApiError):
        # More than a run waits.
        run().ask()
    with pytest.raises(ApiError, match="asked again in 400 s") as caught:
        run().ask()
    assert caught.value.code == "api.throttled"
    assert [entry["leg"] for entry in tenant.requests].count("graph_alerts") == 1
    one = run()
    one.host.now += 400 - LONGEST_WAIT_SECONDS
    assert one.ask() == 200
    assert one.host.now == pytest.approx(1400)
    assert "waiting 300 s (the API asked for it when another run was too fast)" in one.said[0]


def test_a_hold_that_begins_during_a_wait_is_heeded(run: Callable[..., Run], host: Host) -> None:
    one, other = run(Limit(1, 60)), host.pace()
    one.ask()
    sleep = one.client.transport._sleep

    def be_interrupted(seconds: float) -> None:
        if not other.is_held() and host.now < 1061:
            other.hold(100.0)
        sleep(seconds)

    one.client.transport._sleep = be_interrupted
    assert one.ask() == 200
    assert host.now >= 1100


def test_a_hold_without_a_time_is_none(tenant: MockTenant, run: Callable[..., Run], runtime_dir: Path) -> None:
    tenant.set_faults([{"match": {"leg": "api", "times": 1}, "do": {"status": 429}}])
    assert run().ask() == 200
    assert list(runtime_dir.iterdir()) == []


_CHILD = """
import json, sys
from ansible_collections.secops.defender.plugins.module_utils._wdatp.client import Client
from ansible_collections.secops.defender.plugins.module_utils._wdatp.config import resolve_one
from ansible_collections.secops.defender.plugins.module_utils._wdatp.pace import Limit
from ansible_collections.secops.defender.plugins.module_utils._wdatp.redact import Redactor
from ansible_collections.secops.defender.plugins.module_utils._wdatp.runtime import runtime_of
from ansible_collections.secops.defender.plugins.module_utils._wdatp.sources.registry import source_of
from ansible_collections.secops.defender.plugins.module_utils._wdatp.transport import Transport

options, number, (requests, seconds) = json.loads(sys.argv[1])
connection = resolve_one(options)
transport = Transport(connection.http)
client = Client(connection, source_of("graph_alerts"), transport, Redactor(), runtime_of(options, print))
client.auth.token()
print("ready", flush=True)
sys.stdin.readline()
client.pace.limits = [Limit(requests, seconds)]
for _number in range(number):
    assert client.get(client.source.probe_params(transport.server_now())).status == 200
"""


def test_two_processes_never_exceed_the_limit_together(tenant: MockTenant, runtime_dir: Path) -> None:
    """As with requests_per_minute, in a shorter minute."""
    options = {
        **tenant.options,
        "requests_per_minute": 120,
    }
    limit, each = Limit(20, 1.0), 25
    command = [sys.executable, "-c", _CHILD, json.dumps([options, each, limit])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    children = [
        subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _number in range(2)
    ]
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in children:
        out, _err = child.communicate(timeout=60)
        assert (child.returncode, out) == (0, "")
    asked = [entry for entry in tenant.requests if entry["leg"] == "graph_alerts"]
    assert len(asked) == 2 * each
    assert most_within([entry["time"] for entry in asked], limit.seconds) <= limit.requests
    # Fair: where both wait, they take turns.
    turns = [len(list(group)) for _port, group in groupby(asked[20:], key=lambda entry: entry["connection"])]
    assert len(turns) >= 4
