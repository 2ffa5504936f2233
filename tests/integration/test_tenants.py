# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several customers: one app registration for all of them, or a credential for each on the same host."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness import PlaybookRunner
from mock_api import MockTenant
from pulls import (
    CREDENTIAL,
    addresses,
    assert_delivered,
    assert_figures,
    assert_no_secret,
    assert_no_traceback,
    defaults,
    lines,
    pull,
    rows,
    steer,
    to,
    truth,
)

SECRET = "Abc8Q~right/secret+value=& 1"
NAMES = ("Contoso", "Fabrikam", "Adatum")
COUNTS = ("fetched", "new", "updated", "duplicates", "written", "requests", "throttled", "retried", "quarantined")
HOST = "wdatp-alertexporter-us.windows.com"


@pytest.fixture
def mock(make_mock: Callable[..., MockTenant]) -> MockTenant:
    return make_mock(alerts=60, tenants=3, client_secret=SECRET)


@pytest.fixture
def ids(mock: MockTenant) -> list[str]:
    return [entry["tenant_id"] for entry in mock.tenants]


def define(mock: MockTenant, name: str, tenants: dict[str, str], **more: Any) -> dict[str, Any]:
    """A credential for these tenants: organization -> tenant."""
    served = [{"organization": organization, "tenant_id": tenant} for organization, tenant in tenants.items()]
    whose: dict[str, Any] = {"tenants": served} if len(served) > 1 else served[0]
    app = {"client_id": mock.client_id, "client_secret": SECRET, **addresses(mock)}
    return {"name": f"Define {name}", CREDENTIAL: {"name": name, **app, **whose, **more}}


def delivered(path: Path, tenant: str) -> list[bytes]:
    """The alerts of one tenant in a file of envelopes."""
    return sorted(alert_of(line) for line in lines(path) if head_of(line)["tenant_id"] == tenant)


def head_of(line: bytes) -> dict[str, Any]:
    return dict(json.loads(line)["wdatp"])


def alert_of(line: bytes) -> bytes:
    return line.split(b', "alert": ', 1)[1][:-1]


def test_all_customers_of_one_credential_are_pulled_each_with_a_cursor_of_its_own(
    run_playbook: PlaybookRunner, mock: MockTenant, ids: list[str], config_dir: Path, state_dir: Path
) -> None:
    events = state_dir / "events.jsonl"
    options: dict[str, Any] = {"credential": "customers", "destinations": to(events, form="envelope")}
    newest = {tenant: list(rows(mock, tenant=tenant))[-1][1] for tenant in ids}
    result = run_playbook(
        [
            define(mock, "customers", dict(zip(NAMES, ids))),
            # One of them alone, at first.
            pull("One", **options, organization="fabrikam"),
            pull("All", **options),
            pull("Again", **options),
            steer("New alerts of one", mock, "alerts", add=2, tenant=ids[2]),
            pull("Next", **options, return_events=5),
            pull("Nobody", **options, organization="Litware", _ignore=True),
        ],
        play=defaults(state_dir, config_dir=str(config_dir)),
    ).ok()
    one = result["One"].result
    assert_figures(one, new=60, written=60, complete=True)
    assert [stream["organization"] for stream in one["streams"]] == ["Fabrikam"]
    assert one["cursor"] == {"before": None, "after": newest[ids[1]]}

    for name in ("All", "Again", "Next"):
        found = result[name].result
        # Which cursor would it be?
        assert "cursor" not in found
        assert [stream["organization"] for stream in found["streams"]] == list(NAMES)
        assert [stream["tenant_id"] for stream in found["streams"]] == ids
        for count in COUNTS:
            assert found[count] == sum(stream[count] for stream in found["streams"])
        assert [stream["error"] for stream in found["streams"]] == [None] * 3
        for stream in found["streams"]:
            assert_figures(stream, complete=True)
    assert [stream["new"] for stream in result["All"].result["streams"]] == [60, 0, 60]
    befores = [stream["cursor"]["before"] for stream in result["All"].result["streams"]]
    assert befores == [None, newest[ids[1]], None]
    assert [stream["cursor"]["after"] for stream in result["All"].result["streams"]] == [newest[i] for i in ids]
    assert_figures(result["Again"].result, new=0, changed=False)
    assert [stream["new"] for stream in result["Next"].result["streams"]] == [0, 0, 2]
    assert {event["tenantId"] for event in result["Next"].result["events"]} == {ids[2]}

    for tenant in ids:
        assert delivered(events, tenant) == truth(mock, tenant=tenant)
    heads = {(head["credential"], head["organization"], head["tenant_id"]) for head in map(head_of, lines(events))}
    assert heads == {("customers", name, tenant) for name, tenant in zip(NAMES, ids)}

    assert result["Nobody"].status == "ignored"
    assert result["Nobody"].result["error"]["code"] == "credential.organization"
    assert all(name in result["Nobody"].msg for name in ("customers", "'Litware'", *NAMES))
    assert_no_secret(result, SECRET)


def test_a_tenant_in_error_leaves_the_others_alone_and_is_named(
    run_playbook: PlaybookRunner, mock: MockTenant, ids: list[str], config_dir: Path, state_dir: Path
) -> None:
    events = state_dir / "events.jsonl"
    # The one in the middle, so that one comes before it and one behind.
    mock.configure(unconsented_tenants=[ids[1]])
    result = run_playbook(
        [
            define(mock, "customers", dict(zip(NAMES, ids))),
            pull("Try", credential="customers", _check=True, _ignore=True),
            pull("Strict", credential="customers", _ignore=True),
            pull("Easy", credential="customers", fail_on_error=False),
            steer("Consent", mock, "config", method="PUT", unconsented_tenants=[]),
            # Tries at once; the next pull would have waited a minute.
            {
                "name": "Test",
                "secops.defender.wdatp_test_connectivity": {"credential": "customers", "organization": NAMES[1]},
            },
            pull("Repaired", credential="customers"),
        ],
        play=defaults(state_dir, config_dir=str(config_dir)),
    ).ok()
    strict = result["Strict"].result
    assert result["Strict"].status == "ignored"
    assert_figures(strict, new=120, written=120, pending=0, complete=False, changed=True)
    first, broken, last = strict["streams"]
    for stream in (first, last):
        assert_figures(stream, written=60, complete=True, error=None)
    assert_figures(broken, fetched=0, written=0, complete=False, cursor={"before": None, "after": None})
    assert broken["error"]["code"] == strict["error"]["code"] == "auth.unknown_app"
    assert set(broken["error"]) == {"code", "message", "remedy"}
    for text in ("Fabrikam: ", "AADSTS700016", ids[1], "Written and safe in this run: 120 events"):
        assert text in strict["msg"]
    assert not any(name in strict["msg"] for name in ("Contoso", "Adatum", ids[0], ids[2]))
    # Check mode fails in the same way.
    tried = result["Try"].result
    assert result["Try"].status == "ignored"
    assert_figures(tried, new=120, written=0, changed=True)
    assert tried["error"]["code"] == "auth.unknown_app"

    easy = result["Easy"].result
    assert result["Easy"].status == "ok"
    assert_figures(easy, new=0, complete=False, changed=False)
    assert [stream["error"] and stream["error"]["code"] for stream in easy["streams"]] == [
        None,
        "auth.unknown_app",
        None,
    ]
    assert "Fabrikam: " in str(easy["warnings"])

    assert_figures(result["Repaired"].result, new=60, written=60, complete=True)
    assert_delivered(events, [raw for tenant in ids for raw in truth(mock, tenant=tenant)])
    assert_no_traceback(result)
    assert_no_secret(result, SECRET)


def test_several_credentials_of_one_host(
    run_playbook: PlaybookRunner, mock: MockTenant, ids: list[str], config_dir: Path, state_dir: Path, tmp_path: Path
) -> None:
    result = run_playbook(
        [
            define(mock, "first", {"Contoso": ids[0]}, hosts=[HOST]),
            define(mock, "others", {"Fabrikam": ids[1], "Adatum": ids[2]}, hosts=[HOST, "graph.microsoft.com"]),
            pull("Which", host=HOST, _ignore=True),
            pull("This one", host=HOST, organization="contoso", destinations=to(tmp_path / "contoso")),
            pull("That one", host=HOST, organization="ADATUM", destinations=to(tmp_path / "adatum")),
            pull("By name", host=HOST, credential="first", destinations=to(tmp_path / "name")),
            pull("Only one has it", host="graph.microsoft.com", destinations=to(tmp_path / "graph")),
            pull("Nobody", host=HOST, organization="Litware", _ignore=True),
        ],
        play=defaults(state_dir, config_dir=str(config_dir)),
    ).ok()
    which = result["Which"]
    assert which.status == "ignored"
    assert which.result["error"]["code"] == "option.ambiguous"
    for text in (
        HOST,
        "first (organization Contoso)",
        "others (organization",
        "Fabrikam",
        "Adatum",
        "set organization",
    ):
        assert text in which.msg
    for name, tenant in (("contoso", ids[0]), ("adatum", ids[2]), ("name", ids[0])):
        assert_delivered(tmp_path / name, truth(mock, "alert_exporter", tenant))
    assert_delivered(tmp_path / "graph", [raw for tenant in ids[1:] for raw in truth(mock, tenant=tenant)])
    assert result["Nobody"].status == "ignored"
    assert "Litware" in result["Nobody"].msg
    assert_no_traceback(result)
    assert_no_secret(result, SECRET)
