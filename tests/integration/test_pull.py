# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""wdatp_pull_events as playbooks use it: every alert once, byte for byte, and return values that mean what they say."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import certifi
import pytest
from harness import PlaybookRunner
from mock_api import MockTenant
from pulls import (
    CREDENTIAL,
    as_data,
    assert_delivered,
    assert_figures,
    assert_no_secret,
    assert_no_token,
    assert_no_traceback,
    checksum,
    defaults,
    environment,
    identity,
    keep,
    lines,
    pull,
    rows,
    steer,
    to,
    truth,
)

MakeMock = Callable[..., MockTenant]
SECRET = "Abc8Q~right/secret+value=& 1"
# What the contract promises of every result, and of every entry of `streams`.
COUNTS = ("fetched", "new", "updated", "duplicates", "written", "requests", "throttled", "retried", "quarantined")
RETURNED = {
    **dict.fromkeys(COUNTS, int),
    "pending": int,
    "complete": bool,
    "changed": bool,
    "lag_seconds": int,
    "silent_seconds": int,
    "duration_seconds": float,
    "cursor": dict,
    "streams": list,
    "destinations": list,
    "events": list,
}


@pytest.fixture
def mock(make_mock: MakeMock) -> MockTenant:
    return make_mock(alerts=300, client_secret=SECRET)


# --- who asks -----------------------------------------------------------------------------------------------------


def test_an_identity_by_name_by_host_inline_and_for_the_whole_play(
    run_playbook: PlaybookRunner, mock: MockTenant, config_dir: Path, state_dir: Path, tmp_path: Path
) -> None:
    stored = {
        **identity(mock),
        "name": "contoso",
        "organization": "Contoso",
        "hosts": ["wdatp-alertexporter-eu.windows.com"],
        "config_dir": str(config_dir),
    }
    files = {name: tmp_path / f"{name}.jsonl" for name in ("name", "host", "inline", "play")}
    elsewhere = {"REQUESTS_CA_BUNDLE": certifi.where(), "CURL_CA_BUNDLE": certifi.where()}
    tasks: list[dict[str, Any]] = [
        {"name": "Define", CREDENTIAL: stored},
        pull(
            "By name", credential="contoso", config_dir=config_dir, api="graph_alerts", destinations=to(files["name"])
        ),
        pull("By host", host=stored["hosts"][0], config_dir=config_dir, destinations=to(files["host"])),
        # What the options name is trusted, whatever the environment says.
        {**pull("Inline", **identity(mock), destinations=to(files["inline"])), "environment": elsewhere},
        {
            "block": [
                {"name": "Test", "secops.defender.wdatp_test_connectivity": {}},
                pull("By play", destinations=to(files["play"])),
            ],
            "module_defaults": {"group/secops.defender.wdatp": identity(mock)},
        },
    ]
    result = run_playbook(tasks, play=defaults(state_dir), verbosity=4).ok()
    for name in ("name", "inline", "play"):
        assert_delivered(files[name], truth(mock))
    # The host says which API it is.
    assert_delivered(files["host"], truth(mock, "alert_exporter"))
    streams = {name: result[name].result["streams"][0] for name in ("By name", "By host", "Inline")}
    assert [stream["organization"] for stream in streams.values()] == ["Contoso", "Contoso", None]
    assert [stream["api"] for stream in streams.values()] == ["graph_alerts", "alert_exporter", "graph_alerts"]
    assert result["Test"].result["reachable"] is True
    assert_no_secret(result, SECRET)
    assert_no_token(result)
    # Neither is there any alert in what was said.
    titles = {json.loads(raw)["title"] for _id, _time, raw in rows(mock)}
    ids = {alert_id for alert_id, _time, _raw in rows(mock)}
    assert [text for text in titles | ids if text in result.output] == []


def test_an_identity_from_the_environment_alone(
    run_playbook: PlaybookRunner, mock: MockTenant, state_dir: Path
) -> None:
    known = {**environment(mock), "WDATP_STATE_DIR": str(state_dir), "WDATP_ORGANIZATION": "Contoso"}
    tasks = [pull("Pull", initial_lookback="2d", destinations=to(state_dir / "events.jsonl", form="envelope"))]
    result = run_playbook(tasks, known, verbosity=4).ok()
    assert result["Pull"].result["destinations"][0]["target"] == str(state_dir / "events.jsonl")
    assert len(lines(state_dir / "events.jsonl")) == 300
    assert json.loads(lines(state_dir / "events.jsonl")[0])["wdatp"]["organization"] == "Contoso"
    assert_no_secret(result, SECRET)
    assert_no_token(result)


# --- what comes back ----------------------------------------------------------------------------------------------


def test_first_second_and_third_pull(run_playbook: PlaybookRunner, mock: MockTenant, state_dir: Path) -> None:
    events = state_dir / "events.jsonl"
    newest = list(rows(mock))[-1][1]
    result = run_playbook(
        [
            pull("Try first", _check=True),
            keep("Nothing", state_dir),
            pull("First"),
            keep("After first", events),
            pull("Second"),
            keep("After second", events),
            steer("New alerts", mock, "alerts", add=3),
            steer("Changed alerts", mock, "update", n=5),
            pull("Try third", _check=True, return_events=2),
            keep("After trying", events),
            pull("Third", return_events=2),
        ],
        play=defaults(state_dir, **identity(mock)),
    ).ok()
    first, second, third = (result[name].result for name in ("First", "Second", "Third"))
    for found in (first, second, third):
        assert {name: type(found[name]) for name in RETURNED} == RETURNED
        assert found["streams"] == [
            {
                "tenant_id": mock.tenant_id,
                "organization": None,
                "credential": None,
                "api": "graph_alerts",
                "error": None,
                **{name: found[name] for name in (*COUNTS, "complete", "cursor", "lag_seconds", "silent_seconds")},
            }
        ]
        assert found["complete"] is True
        # Nothing is left behind, so all that it lags is the time that the pull itself took.
        assert found["lag_seconds"] < 30
        assert found["duration_seconds"] > 0
        # One for the token, one page.
        assert found["requests"] >= 2
        assert_figures(found, throttled=0, retried=0, quarantined=0, pending=0)
    target = {"type": "file", "target": str(events), "pending": 0, "error": None}
    assert_figures(first, changed=True, fetched=300, new=300, updated=0, duplicates=0, written=300, events=[])
    assert first["destinations"] == [{**target, "written": 300}]
    assert first["cursor"] == {"before": None, "after": newest}

    assert_figures(second, changed=False, new=0, updated=0, written=0, cursor={"before": newest, "after": newest})
    # Some are read again, in case that Microsoft shows others late.
    assert 0 < second["duplicates"] < 300
    assert second["destinations"] == [{**target, "written": 0}]
    assert checksum(result, "After first") == checksum(result, "After second") != ""

    # Of the five newest that changed three were new themselves.
    assert_figures(third, changed=True, new=3, updated=2, written=5)
    assert third["cursor"] == {"before": newest, "after": list(rows(mock))[-1][1]}
    assert [as_data(line) for line in lines(events)[-2:]] == third["events"]
    assert len(lines(events)) == 305
    assert set(truth(mock)) <= set(lines(events))

    # Check mode says all this beforehand, and does none of it.
    assert not result["Nothing"].result["stat"]["exists"]
    assert checksum(result, "After trying") == checksum(result, "After second")
    for predicted, real in ((result["Try first"].result, first), (result["Try third"].result, third)):
        names = ("changed", "fetched", "new", "updated", "duplicates", "complete", "events")
        assert {name: predicted[name] for name in names} == {name: real[name] for name in names}
        assert predicted["written"] == predicted["destinations"][0]["written"] == predicted["pending"] == 0
        assert predicted["cursor"] == {"before": real["cursor"]["before"], "after": real["cursor"]["before"]}


def on_one_line(raw: bytes) -> bytes:
    """Line ends stand between the tokens of some of Microsoft's answers; in a file of lines they are blanks."""
    return raw.replace(b"\r", b" ").replace(b"\n", b" ")


def test_all_four_apis(run_playbook: PlaybookRunner, make_mock: MakeMock, state_dir: Path, tmp_path: Path) -> None:
    mock = make_mock(alerts=150, layout="lines")
    apis = ("graph_alerts", "graph_incidents", "mde_alerts", "alert_exporter")
    tasks = [pull(api, api=api, destinations=to(tmp_path / api)) for api in apis]
    tasks += [
        pull(f"{api}, bare", api=api, expand=False, destinations=to(tmp_path / f"{api}-bare"))
        for api in ("graph_incidents", "mde_alerts")
    ]
    # A number above the API's limit is taken down to it.
    tasks.append(pull("Large pages", api="graph_incidents", page_size=1000, destinations=to(tmp_path / "large")))
    result = run_playbook(tasks, play=defaults(state_dir, **identity(mock))).ok()
    for api in apis:
        expected = [on_one_line(raw) for raw in truth(mock, api)]
        assert_delivered(tmp_path / api, expected)
        assert_figures(result[api].result, fetched=len(expected), written=len(expected), complete=True)
    for api in ("graph_incidents", "mde_alerts"):
        bare = [on_one_line(raw) for raw in truth(mock, api, expand=False)]
        assert_delivered(tmp_path / f"{api}-bare", bare)
    assert len(lines(tmp_path / "large")) == len(truth(mock, "graph_incidents"))
    warnings = {task.name: " ".join(map(str, task.result.get("warnings", []))) for task in result.tasks}
    assert warnings["graph_alerts"] == warnings["graph_incidents"] == ""
    for api, date in (("mde_alerts", r"20\d\d"), ("alert_exporter", "2024-12-31")):
        assert re.search(date, warnings[api])
        assert "graph_alerts" in warnings[api]
    assert "page_size 1000" in warnings["Large pages"]
    assert "50 is used" in warnings["Large pages"]


def test_the_envelope_says_where_an_alert_is_from(
    run_playbook: PlaybookRunner, mock: MockTenant, state_dir: Path, config_dir: Path
) -> None:
    events = state_dir / "events.jsonl"
    stored = {**identity(mock), "name": "contoso", "organization": "Contoso"}
    options: dict[str, Any] = {"credential": "contoso", "destinations": to(events, form="envelope")}
    run_playbook(
        [
            {"name": "Define", CREDENTIAL: stored},
            pull("First", **options),
            steer("New", mock, "alerts", add=2),
            pull("Next", **options),
        ],
        play=defaults(state_dir, config_dir=str(config_dir)),
    ).ok()
    found = [json.loads(line) for line in lines(events)]
    assert {tuple(item) for item in found} == {("wdatp", "alert")}
    sequences = [item["wdatp"].pop("sequence") for item in found]
    assert all(first < second for first, second in zip(sequences, sequences[1:]))
    for item in found:
        assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", item["wdatp"].pop("received_at"))
        assert item["wdatp"].pop("event_id") == item["alert"]["id"]
        assert item["wdatp"] == {
            "credential": "contoso",
            "organization": "Contoso",
            "tenant_id": mock.tenant_id,
            "api": "graph_alerts",
        }
    # The alert's own text stands in it, every byte as it came.
    inner = sorted(line.split(b', "alert": ', 1)[1][:-1] for line in lines(events))
    assert inner == truth(mock)


# --- how much -----------------------------------------------------------------------------------------------------


def test_the_policies_for_updates(
    run_playbook: PlaybookRunner, mock: MockTenant, state_dir: Path, tmp_path: Path
) -> None:
    changed, touched = (alert_id for alert_id, _time, _raw in list(rows(mock))[-2:])
    policies = ("all", "latest", "new_only", "changed")

    def round_of(name: str) -> list[dict[str, Any]]:
        return [
            pull(f"{policy}, {name}", updates=policy, destinations=to(tmp_path / f"{policy}.jsonl"))
            for policy in policies
        ]

    tasks = [
        *round_of("at first"),
        steer("One alert changes", mock, "update", ids=[changed]),
        # Three times another status: afterwards it has the first again, and only its time is new.
        *(steer("One comes back to what it was", mock, "update", ids=[touched]) for _number in range(3)),
        *round_of("then"),
        # A version that is older than the one that is known.
        steer("An old version shows up", mock, "update", ids=[changed], late_seconds=300),
        *round_of("late"),
    ]
    result = run_playbook(tasks, play=defaults(state_dir, **identity(mock))).ok()
    written = {
        policy: tuple(result[f"{policy}, {name}"].result["written"] for name in ("at first", "then", "late"))
        for policy in policies
    }
    assert written == {"all": (300, 2, 1), "latest": (300, 2, 0), "new_only": (300, 0, 0), "changed": (300, 1, 0)}
    for policy in policies:
        assert_figures(result[f"{policy}, then"].result, new=0, updated=2, changed=policy != "new_only")
        assert_figures(result[f"{policy}, late"].result, new=0, updated=1, changed=policy == "all")
    assert json.loads(lines(tmp_path / "changed.jsonl")[-1])["id"] == changed


def test_filters_have_cursors_of_their_own(
    run_playbook: PlaybookRunner, mock: MockTenant, state_dir: Path, tmp_path: Path
) -> None:
    events = state_dir / "events.jsonl"
    known = [json.loads(raw) for raw in truth(mock)]
    high = sum(1 for alert in known if alert["severity"] == "high")
    narrow = [a for a in known if a["severity"] in ("low", "medium") and a["status"] == "new"]
    category = narrow[0]["category"]
    chosen = [alert["id"] for alert in narrow if alert["category"] == category]
    filters = {"severity": ["low", "Medium"], "status": ["new"], "category": [category]}
    result = run_playbook(
        [
            pull("High", severity=["high"]),
            pull("High again", severity=["high"]),
            pull("All"),
            pull("Narrow", **filters, destinations=to(tmp_path / "narrow")),
        ],
        play=defaults(state_dir, **identity(mock)),
    ).ok()
    assert 0 < high < 300
    assert_figures(result["High"].result, new=high, written=high, complete=True)
    assert_figures(result["High again"].result, new=0, written=0, changed=False)
    # Those that the filter left out still come when it is gone.
    assert_figures(result["All"].result, new=300 - high, duplicates=high, written=300 - high)
    assert_delivered(events, truth(mock))
    assert sorted(json.loads(line)["id"] for line in lines(tmp_path / "narrow")) == sorted(chosen)


def test_budgets_end_a_run_and_the_next_goes_on(
    run_playbook: PlaybookRunner, make_mock: MakeMock, state_dir: Path, tmp_path: Path
) -> None:
    # More to a timestamp than a budget holds.
    mock = make_mock(alerts=250, ties=70)
    size = sum(map(len, truth(mock)))
    events = to(tmp_path / "events")
    tasks = [pull(f"{number}", max_events=60, return_events=3, destinations=events) for number in range(1, 7)]
    # The last alert that fits goes over the limit of bytes.
    tasks += [pull(f"Bytes {number}", max_bytes=size // 2, destinations=to(tmp_path / "bytes")) for number in (1, 2, 3)]
    tasks += [pull("Seconds", max_seconds=600, destinations=to(tmp_path / "seconds"))]
    result = run_playbook(tasks, play=defaults(state_dir, **identity(mock))).ok()
    assert [result[f"{number}"].result["written"] for number in range(1, 7)] == [60, 60, 60, 60, 10, 0]
    assert [result[f"{number}"].result["complete"] for number in range(1, 7)] == [False] * 4 + [True, True]
    for number in range(1, 5):
        # How far the pull lags is how old the alerts are that it has come to.
        assert result[f"{number}"].result["lag_seconds"] > 60
        last = as_data(lines(tmp_path / "events")[60 * number - 1])
        assert result[f"{number}"].result["events"][-1] == last
        assert result[f"{number}"].result["cursor"]["after"] == last["lastUpdateDateTime"]
    assert [result[f"Bytes {number}"].result["complete"] for number in (1, 2, 3)] == [False, True, True]
    for name in ("events", "bytes", "seconds"):
        assert_delivered(tmp_path / name, truth(mock))


def test_since_and_until(run_playbook: PlaybookRunner, mock: MockTenant, state_dir: Path, tmp_path: Path) -> None:
    known = list(rows(mock))
    early, late = known[50][1], known[200][1]
    between = [raw for _id, time, raw in known if early <= time <= late]
    result = run_playbook(
        [
            pull("A window", since=early, until=late, destinations=to(tmp_path / "window")),
            pull("Ages ago", until="40d", initial_lookback="41d", destinations=to(tmp_path / "ages")),
            pull("Up to an hour ago", until="1h"),
            pull("Now"),
            pull("Once more", since="2d"),
            pull("Part of it", since=early, until=late),
        ],
        play=defaults(state_dir, **identity(mock)),
    ).ok()
    assert_delivered(tmp_path / "window", between)
    assert_figures(result["Ages ago"].result, fetched=0, changed=False, complete=True)
    part = result["Up to an hour ago"].result
    assert 0 < part["written"] < 300
    assert 3590 < part["lag_seconds"] < 2 * 3600 + 60
    # All of the rest: what came before counts as known.
    assert_figures(result["Now"].result, new=300 - part["new"], complete=True)
    # What is known is not written again, and the cursor stays where it is.
    cursor = result["Now"].result["cursor"]["after"]
    for name, count in (("Once more", 300), ("Part of it", len(between))):
        assert_figures(result[name].result, duplicates=count, new=0, written=0, changed=False)
        assert result[name].result["cursor"] == {"before": cursor, "after": cursor}
    assert_delivered(state_dir / "events.jsonl", truth(mock))


# --- where to -----------------------------------------------------------------------------------------------------


def test_a_destination_in_error_holds_up_no_other_and_catches_up(
    run_playbook: PlaybookRunner, mock: MockTenant, state_dir: Path, tmp_path: Path
) -> None:
    good, bad = tmp_path / "good.jsonl", tmp_path / "missing" / "bad.jsonl"
    options = {"destinations": to(good, bad)}
    result = run_playbook(
        [
            pull("Strict", **options, _ignore=True, return_events=1),
            pull("Easy", **options, fail_on_error=False),
            steer("New", mock, "alerts", add=2),
            pull("Easy again", **options, fail_on_error=False),
            pull("Try", **options, _check=True),
            {"name": "Repair", "ansible.builtin.file": {"path": str(bad.parent), "state": "directory", "mode": "0700"}},
            pull("Catch up", **options),
            pull("Nothing left", **options),
        ],
        play=defaults(state_dir, **identity(mock)),
    ).ok()
    strict = result["Strict"].result
    assert result["Strict"].status == "ignored"
    assert {name: type(strict[name]) for name in RETURNED} == RETURNED
    # `written` are those that every destination has.
    assert_figures(strict, new=300, written=0, pending=300, changed=True, complete=True)
    first, second = strict["destinations"]
    assert first == {"type": "file", "target": str(good), "written": 300, "pending": 0, "error": None}
    assert (second["written"], second["pending"]) == (0, 300)
    assert second["error"]["code"] == strict["error"]["code"] == "destination.no_directory"
    for text in (
        str(bad.parent),
        "does not exist",
        "Create it",
        "nothing is lost",
        "Waiting in the outbox: 300 events",
    ):
        assert text in strict["msg"]
    assert len(strict["events"]) == 1

    easy = result["Easy"].result
    assert result["Easy"].status == "ok"
    assert_figures(easy, new=0, written=0, pending=300, changed=False)
    assert str(bad.parent) in str(easy["warnings"])
    assert_figures(result["Easy again"].result, new=2, pending=302, changed=True)

    caught_up = result["Catch up"].result
    assert_figures(caught_up, new=0, pending=0, changed=True)
    assert [(item["written"], item["error"]) for item in caught_up["destinations"]] == [(0, None), (302, None)]
    assert_figures(result["Nothing left"].result, new=0, pending=0, changed=False)
    assert good.read_bytes() == bad.read_bytes()
    assert_delivered(bad, truth(mock))
    assert_no_traceback(result)


def test_the_service_may_stumble(run_playbook: PlaybookRunner, mock: MockTenant, state_dir: Path) -> None:
    mock.set_faults(
        [
            {"match": {"leg": "graph_alerts", "n": 2}, "do": {"status": 429, "retry_after": 1}},
            {"match": {"leg": "graph_alerts", "n": 4}, "do": {"reset": True}},
            {"match": {"leg": "graph_alerts", "n": 6}, "do": {"bad_json": True}},
        ]
    )
    result = run_playbook(
        [pull("Pull", page_size=60), pull("Again", page_size=60)], play=defaults(state_dir, **identity(mock))
    ).ok()
    assert_figures(result["Pull"].result, written=300, complete=True, throttled=1)
    assert result["Pull"].result["retried"] >= 2
    assert result["Pull"].result["duration_seconds"] >= 1
    assert_figures(result["Again"].result, new=0, changed=False)
    assert_delivered(state_dir / "events.jsonl", truth(mock))


def test_an_answer_that_is_partial_is_not_complete(
    run_playbook: PlaybookRunner, mock: MockTenant, state_dir: Path
) -> None:
    mock.set_faults([{"match": {"leg": "graph_alerts", "n": 1}, "do": {"status": 206}}])
    result = run_playbook([pull("Pull"), pull("Again")], play=defaults(state_dir, **identity(mock))).ok()
    assert_figures(result["Pull"].result, complete=False, written=300)
    assert_figures(result["Again"].result, new=0, complete=True)


def test_a_pull_that_breaks_off_says_what_is_safe(
    run_playbook: PlaybookRunner, mock: MockTenant, state_dir: Path
) -> None:
    mock.set_faults([{"match": {"leg": "graph_alerts", "from": 3}, "do": {"status": 403}}])
    result = run_playbook(
        [
            pull("Strict", page_size=60, _ignore=True),
            pull("Easy", page_size=60, fail_on_error=False),
            steer("Repair", mock, "faults", method="DELETE"),
            pull("Go on", page_size=60),
        ],
        play=defaults(state_dir, **identity(mock)),
    ).ok()
    strict = result["Strict"].result
    assert result["Strict"].status == "ignored"
    assert {name: type(strict[name]) for name in RETURNED} == RETURNED
    # Those of two pages, but for a last timestamp that may go on.
    safe = strict["new"]
    assert 100 < safe <= 120
    assert_figures(strict, written=safe, pending=0, complete=False, changed=True)
    assert strict["error"]["code"] == strict["streams"][0]["error"]["code"] == "api.forbidden"
    assert f"Written and safe in this run: {safe} events" in strict["msg"]
    assert "nothing is lost" in strict["msg"]
    assert strict["cursor"]["after"] == json.loads(lines(state_dir / "events.jsonl")[safe - 1])["lastUpdateDateTime"]
    assert result["Easy"].status == "ok"
    assert_figures(result["Easy"].result, new=0, complete=False, changed=False)
    assert "403" in str(result["Easy"].result["warnings"])
    assert_figures(result["Go on"].result, new=300 - safe, written=300 - safe, complete=True)
    assert_delivered(state_dir / "events.jsonl", truth(mock))
    assert_no_traceback(result)
