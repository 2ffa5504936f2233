# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers that are too slow or too large, over the wire: asked for in smaller pages, and every alert arrives once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp import transport as transport_module
from ansible_collections.secops.defender.plugins.module_utils._wdatp.asker import ApiAsker
from ansible_collections.secops.defender.plugins.module_utils._wdatp.client import Client
from ansible_collections.secops.defender.plugins.module_utils._wdatp.config import Connection
from ansible_collections.secops.defender.plugins.module_utils._wdatp.errors import TransportError
from ansible_collections.secops.defender.plugins.module_utils._wdatp.paging import Answer, Walk
from ansible_collections.secops.defender.plugins.module_utils._wdatp.redact import Redactor
from ansible_collections.secops.defender.plugins.module_utils._wdatp.sources.base import Source, Span
from ansible_collections.secops.defender.plugins.module_utils._wdatp.sources.registry import source_of
from ansible_collections.secops.defender.plugins.module_utils._wdatp.times import DAY, now_ticks
from ansible_collections.secops.defender.plugins.module_utils._wdatp.transport import Transport
from mock_api import MockTenant

APIS = ("graph_alerts", "graph_incidents", "mde_alerts", "alert_exporter")
# How each API is told the number of rows.
LIMIT = r"(\$top|limit)=({})\b"
Connect = Callable[..., Connection]


class NotingAsker(ApiAsker):
    """Notes how many rows each question asks for: the tenant notes a question that nobody waited for too late."""

    def __init__(self, client: Client, source: Source) -> None:
        super().__init__(client, source)
        self.sizes: list[int] = []

    def span(self, span: Span, top: int, skip: int = 0, extra: Sequence[str] = ()) -> Answer:
        self.sizes.append(top)
        return super().span(span, top, skip, extra)


class Job:
    """A walk through all that the mock tenant has."""

    def __init__(self, connection: Connection) -> None:
        self.source = source_of(connection.target.api)
        self.waits: list[float] = []
        self.transport = Transport(connection.http, sleep=self.waits.append)
        client = Client(connection, self.source, self.transport, Redactor())
        self.asker = NotingAsker(client, self.source)
        self.walk = Walk(self.source, self.asker, Span(now_ticks() - 3 * DAY, None), 40)

    def check(self, tenant: MockTenant) -> None:
        """It brings all, each alert once and byte for byte."""
        found = [event.raw for batch in self.walk for event in batch.events]
        assert self.walk.bad_slices == 0
        expand, unknown = True, True
        assert sorted(found) == sorted(
            raw for _id, _time, raw in tenant.alerts(self.source.name, None, expand, unknown)
        )


def fault(tenant: MockTenant, sizes: str, **do: Any) -> None:
    tenant.set_faults([{"match": {"leg": "api", "query": LIMIT.format(sizes)}, "do": do}])


@pytest.mark.parametrize("api", APIS)
def test_pages_that_come_too_late(tenant: MockTenant, connection_to: Connect, api: str) -> None:
    fault(tenant, "40", delay=1.5)
    job = Job(connection_to(api=api, timeout=1))
    job.check(tenant)
    # At once, and larger ones only after some good answers.
    assert job.waits == []
    assert job.asker.sizes[:6] == [40, 20, 20, 20, 20, 20][: len(job.asker.sizes)]


def test_pages_that_trickle(tenant: MockTenant, connection_to: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_module, "_PATIENCE", 1)
    fault(tenant, "40|20", drip=1000)
    job = Job(connection_to(timeout=1))
    job.check(tenant)
    assert job.asker.sizes[:3] == [40, 20, 10]


@pytest.mark.parametrize("api", APIS)
def test_pages_that_are_too_large(
    tenant: MockTenant, connection_to: Connect, api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their size counts as it is in memory, not as it comes over the wire."""
    whole = sum(len(raw) for _id, _time, raw in tenant.alerts(api, None, True, True))
    monkeypatch.setattr(transport_module, "LARGEST_ANSWER", whole * 2 // 3)
    job = Job(connection_to(api=api))
    job.check(tenant)
    assert 20 in job.asker.sizes


def test_an_answer_that_is_too_large_is_not_read_to_its_end(
    tenant: MockTenant, connection_to: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport_module, "LARGEST_ANSWER", 1 << 20)
    fault(tenant, "40", body="x" * (3 << 20))
    job = Job(connection_to(retries=5))
    with pytest.raises(TransportError, match="more than 1 MB, which was not read to its end") as caught:
        job.transport.request("GET", f"{tenant.url}/v1.0/security/alerts_v2", [("$top", "40")], bearer=tenant.token())
    assert caught.value.code == "network.too_large"
    assert caught.value.remedy
    assert job.transport.counters.requests == 1


def test_a_service_that_is_too_slow_for_everything(tenant: MockTenant, connection_to: Connect) -> None:
    tenant.set_faults([{"match": {"leg": "api"}, "do": {"delay": 2}}])
    job = Job(connection_to(timeout=1))
    with pytest.raises(TransportError) as caught:
        list(job.walk)
    assert caught.value.code == "network.timeout"
    assert job.asker.sizes == [40, 20, 10]
    # The last one twice, as the question whether it answers at all; and one for the token.
    assert job.transport.counters.requests == 2 + 2 + 2 + 1


def test_a_login_that_is_slow_is_no_reason_for_smaller_pages(tenant: MockTenant, connection_to: Connect) -> None:
    tenant.set_faults([{"match": {"leg": "token"}, "do": {"delay": 1.5}}])
    job = Job(connection_to(timeout=1, retries=1))
    with pytest.raises(TransportError) as caught:
        list(job.walk)
    assert caught.value.code == "network.timeout"
    assert job.asker.sizes == [40]


def test_one_page_that_is_slow_once_costs_one_question(tenant: MockTenant, connection_to: Connect) -> None:
    tenant.set_faults([{"match": {"leg": "api", "n": 1}, "do": {"delay": 1.5}}])
    job = Job(connection_to(timeout=1))
    job.check(tenant)
    assert job.asker.sizes[:2] == [40, 20]
    assert job.transport.counters.retried == 1
