# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the walker's questions to HTTP: which links are followed, what is asked again, what is an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp.asker import ApiAsker
from ansible_collections.secops.defender.plugins.module_utils._wdatp.client import Client
from ansible_collections.secops.defender.plugins.module_utils._wdatp.config import Connection
from ansible_collections.secops.defender.plugins.module_utils._wdatp.errors import ApiError, TransportError
from ansible_collections.secops.defender.plugins.module_utils._wdatp.redact import Redactor
from ansible_collections.secops.defender.plugins.module_utils._wdatp.sources.base import Span
from ansible_collections.secops.defender.plugins.module_utils._wdatp.sources.registry import source_of
from ansible_collections.secops.defender.plugins.module_utils._wdatp.transport import Transport
from mock_api import MockTenant

ALL = Span(0, None)
PATH = "/v1.0/security/alerts_v2"


@pytest.fixture
def asker(connection_to: Callable[..., Connection]) -> Callable[..., ApiAsker]:
    def make(wanted: dict[str, list[str]] | None = None, **options: Any) -> ApiAsker:
        connection = connection_to(**{"retries": 1, **options})
        source = source_of(connection.target.api, True, wanted)
        transport = Transport(connection.http, sleep=lambda seconds: None)
        return ApiAsker(Client(connection, source, transport, Redactor()), source)

    return make


def api_requests(tenant: MockTenant) -> int:
    return len([entry for entry in tenant.requests if entry["leg"] not in ("token", "discovery")])


def test_a_link_to_the_next_page_is_followed(tenant: MockTenant, asker: Callable[..., ApiAsker]) -> None:
    one = asker()
    first = one.span(ALL, 25)
    second = one.link(first.next_link or "")
    assert second is not None
    ids = [event.id for event in (*first.events, *second.events)]
    assert len(ids) == len(set(ids)) == 40


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example" + PATH,
        "https://evil.example@{host}.evil.example" + PATH,
        "https://{host}.evil.example" + PATH,
        "https://{name}:1" + PATH,
        "https://{host}/other/alerts_v2",
        "https://{host}" + PATH + "/../../me",
        "http://{host}" + PATH,
        "//{host}" + PATH,
        PATH + "?$skiptoken=x",
        "https://[broken" + PATH,
        "https://{name}:port" + PATH,
        "https://{name}:99999" + PATH,
        "javascript:alert(1)",
        "7",
        "",
    ],
)
def test_a_link_that_leads_elsewhere_is_not_followed(
    tenant: MockTenant, asker: Callable[..., ApiAsker], link: str
) -> None:
    host = tenant.url.partition("://")[2]
    assert asker().link(link.format(host=host, name=host.partition(":")[0])) is None
    assert tenant.requests == []


def test_the_case_of_a_links_host_does_not_count(tenant: MockTenant, asker: Callable[..., ApiAsker]) -> None:
    link = (tenant.url + PATH).replace("https://l", "https://L")
    found = asker().link(f"{link}?$top=1")
    assert found is not None
    assert found.rows == 1


@pytest.mark.parametrize("status", [400, 404, 410])
def test_a_link_that_is_refused_is_no_error(tenant: MockTenant, asker: Callable[..., ApiAsker], status: int) -> None:
    tenant.set_faults([{"match": {"query": "skiptoken"}, "do": {"status": status}}])
    assert asker().link(tenant.url + PATH + "?$skiptoken=x") is None


@pytest.mark.parametrize(("status", "code"), [(403, "api.forbidden"), (503, "api.unavailable")])
def test_a_link_that_fails_otherwise_is_an_error(
    tenant: MockTenant, asker: Callable[..., ApiAsker], status: int, code: str
) -> None:
    tenant.set_faults([{"match": {"query": "skiptoken"}, "do": {"status": status}}])
    with pytest.raises(ApiError) as caught:
        asker().link(tenant.url + PATH + "?$skiptoken=x")
    assert caught.value.code == code


@pytest.mark.parametrize("fault", ["bad_json", "html_200"])
@pytest.mark.parametrize("by_link", [False, True])
def test_an_answer_that_is_no_json_is_asked_for_again(
    tenant: MockTenant, asker: Callable[..., ApiAsker], fault: str, by_link: bool
) -> None:
    tenant.set_faults([{"match": {"leg": "api", "times": 2}, "do": {fault: True}}])
    one = asker()
    answer = one.link(f"{tenant.url}{PATH}?$top=5") if by_link else one.span(ALL, 5)
    assert answer is not None
    assert answer.rows == 5
    assert api_requests(tenant) == 3
    assert one.client.transport.counters.retried == 2


def test_an_answer_that_stays_no_json_is_an_error(tenant: MockTenant, asker: Callable[..., ApiAsker]) -> None:
    tenant.set_faults([{"match": {"leg": "api"}, "do": {"html_200": True}}])
    with pytest.raises(TransportError) as caught:
        asker().span(ALL, 5)
    assert caught.value.code == "network.not_json"
    assert "<!DOCTYPE html>" in caught.value.message
    assert api_requests(tenant) == 3


def test_json_that_is_no_list_is_not_asked_for_again(tenant: MockTenant, asker: Callable[..., ApiAsker]) -> None:
    tenant.set_faults([{"match": {"leg": "api"}, "do": {"body": {"hello": "world"}}}])
    with pytest.raises(TransportError) as caught:
        asker().span(ALL, 5)
    assert caught.value.code == "network.no_list"
    assert api_requests(tenant) == 1


def test_a_byte_order_mark_does_no_harm(tenant: MockTenant, asker: Callable[..., ApiAsker]) -> None:
    tenant.set_faults([{"match": {"leg": "api"}, "do": {"bom": True}}])
    assert asker().span(ALL, 5).rows == 5


def test_206_is_a_partial_answer(tenant: MockTenant, asker: Callable[..., ApiAsker]) -> None:
    assert not asker().span(ALL, 5).is_partial
    tenant.set_faults([{"match": {"leg": "api"}, "do": {"status": 206}}])
    assert asker().span(ALL, 5).is_partial


def test_rows_that_are_filtered_here_are_counted(tenant: MockTenant, asker: Callable[..., ApiAsker]) -> None:
    answer = asker(wanted={"category": ["Malware"]}).span(ALL, 40)
    assert answer.rows == 40
    assert 0 < len(answer.events) < 40
    assert all(b'"category":"Malware"' in event.raw for event in answer.events)


def test_only_the_exporter_gives_everything(asker: Callable[..., ApiAsker]) -> None:
    assert asker().everything(ALL) is None
    everything = asker(api="alert_exporter").everything(ALL)
    assert everything is not None
    assert everything.rows >= 40
