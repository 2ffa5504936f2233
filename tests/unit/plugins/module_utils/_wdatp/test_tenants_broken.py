# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A job with tenants that are broken, each in another way: they cost the others nothing, and lose nothing."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp import crew, health, transport
from ansible_collections.secops.defender.plugins.module_utils._wdatp.outcome import PullReport, StreamReport
from ansible_collections.secops.defender.plugins.module_utils._wdatp.pull import Context, pull
from collecting import Collector
from mock_api import MockTenant, TenantConfig
from mock_api.broken import TEN, broken, poisoned

WELL = ("well 1", "well 2", "well 3")
# One more way: an alert that no page may hold. What can be read is delivered.
POISONED = "poisoned"
NAMES = (*TEN, POISONED, *WELL)
ALERTS = 6
CODES = {
    "wrong_secret": "auth.invalid_secret",
    "unknown_tenant": "auth.unknown_tenant",
    "no_consent": "api.forbidden",
    "token_refused": "api.unauthorized",
    "throttled": "api.throttled",
    "failing": "api.unavailable",
    "cut_off": "network.broken",
    "silent": "network.timeout",
    "trickling": "network.timeout",
    "sign_in_page": "network.not_json",
}


class Estate(Collector):
    """A collector whose job has them all."""

    def __init__(self, tenant: MockTenant, place: Path) -> None:
        super().__init__(tenant, place)
        self.runtime = place / "run"
        self.ids = {name: entry["tenant_id"] for name, entry in zip(NAMES, tenant.tenants)}
        tenants = [{"tenant_id": tenant_id, "organization": name} for name, tenant_id in self.ids.items()]
        self.credential(names=(), tenants=tenants)
        # The shortest interval: no stream is waited for any longer.
        self.settings = {"timeout": 1, "retries": 0, "interval": "10s", "runtime_dir": str(self.runtime)}
        self.define(page_size=10, max_parallel=2, **self.settings)
        self.order: list[str] = []

    def run(self) -> PullReport:
        def note(stream: StreamReport, _ended: int, _streams: int) -> None:
            self.order.append(stream.organization or "")

        self.order.clear()
        self.tenant.clear_requests()
        options = {"config_dir": self.config_dir, "state_dir": self.state_dir, "job": "default"}
        return pull(options, Context(warn=self.warnings.append, progress=note, insists=False))

    def break_them(self) -> None:
        rules = broken({self.ids[way]: way for way in TEN})
        poison = next(self.tenant.alerts(tenant=self.ids[POISONED]))[0]
        self.tenant.set_faults([*rules, poisoned(self.ids[POISONED], poison)])

    def expected(self, name: str) -> set[str]:
        return {alert_id for alert_id, _time, _raw in self.tenant.alerts(tenant=self.ids[name])}

    def delivered(self) -> Counter[str]:
        return Counter(json.loads(line)["id"] for line in self.events.read_text("utf-8").splitlines())

    def requests(self, name: str) -> int:
        return sum(entry["tenant_id"] == self.ids[name] for entry in self.tenant.requests)


@pytest.fixture(scope="module")
def running_tenant() -> Iterator[MockTenant]:
    with MockTenant(TenantConfig(tenants=len(NAMES), alerts=ALERTS, span="20h")) as tenant:
        yield tenant


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the back-off takes for the time; it passes where a test lets it."""
    found = [1_800_000_000.0]
    monkeypatch.setattr(health.Health.__init__, "__defaults__", (False, lambda: found[0]))
    # Who waits longer than that makes room for others; who sends for longer than that is too slow.
    monkeypatch.setattr(crew, "_SLOW_SECONDS", 0.5)
    monkeypatch.setattr(transport, "_PATIENCE", 1)
    return found


@pytest.fixture
def estate(tenant: MockTenant, tmp_path: Path, now: list[float]) -> Estate:
    found = Estate(tenant, tmp_path)
    found.break_them()
    return found


def test_broken_tenants_cost_the_others_nothing_and_lose_nothing(estate: Estate, now: list[float]) -> None:
    first = estate.run()

    # Those that are well have everything, and did not wait for those that make one wait.
    for name in WELL:
        assert estate.expected(name) <= estate.delivered().keys()
        assert max(map(estate.order.index, WELL)) < min(map(estate.order.index, ("silent", "trickling")))
    # The broken ones are named, each with what is wrong and what to do.
    failure = str(first.failure())
    streams = {stream.organization: stream for stream in first.streams}
    for way, code in CODES.items():
        error = streams[way].error
        assert error is not None
        assert (error.code, f"{way}: {error.message}" in failure) == (code, True)
        assert error.remedy in failure
    assert [name for name, stream in streams.items() if stream.error is None] == [POISONED, *WELL]
    assert (streams[POISONED].complete, streams[POISONED].quarantined, streams[POISONED].new) == (False, 1, ALERTS - 1)
    assert [item["organization"] for item in estate.info()["streams"] if item["last_error"]] == sorted(TEN)

    # The next run, a moment later: the others go on, and the broken ones are not even asked (of one a token is).
    for name in NAMES:
        estate.tenant.add_alerts(1, tenant=estate.ids[name])
    second = estate.run()
    assert {name: estate.requests(name) for name in TEN if estate.requests(name)} == {"throttled": 1}
    assert {stream.organization: stream.error.code for stream in second.streams if stream.error} == CODES
    for name in WELL:
        assert estate.expected(name) <= estate.delivered().keys()

    # Later they are asked again, and not waited for.
    now[0] += 3600
    shutil.rmtree(estate.runtime)
    estate.run()
    assert all(1 <= estate.requests(name) <= 5 for name in TEN)

    # When they are mended, they get all that came in the meantime, and nobody gets anything twice.
    estate.tenant.set_faults([])
    now[0] += 3600
    shutil.rmtree(estate.runtime)
    last = estate.run()
    assert last.failure() is None
    assert all(stream.complete for stream in last.streams)
    assert estate.delivered() == Counter(alert_id for name in NAMES for alert_id in estate.expected(name))
    assert [item for item in estate.info()["streams"] if item["last_error"]] == []


def test_a_stream_whose_turn_is_over_goes_on_in_the_next_run(estate: Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    estate.define(page_size=2, organizations=[WELL[0]], **estate.settings)
    in_time = iter([False, False])
    monkeypatch.setattr(transport.Transport, "is_late", lambda self: next(in_time, True))
    (stream,) = estate.run().streams
    assert (stream.error, stream.complete) == (None, False)
    wanted = estate.expected(WELL[0])
    assert 0 < stream.new < len(wanted)
    monkeypatch.undo()
    (rest,) = estate.run().streams
    assert (rest.error, rest.complete, stream.new + rest.new) == (None, True, len(wanted))
    assert estate.delivered() == Counter(wanted)
