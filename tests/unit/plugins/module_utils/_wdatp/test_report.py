# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report: what is noted of events, what is shown of them, and that no alert can break its form."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
import unicodedata
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp.clouds import APIS
from ansible_collections.secops.defender.plugins.module_utils._wdatp.errors import WdatpError
from ansible_collections.secops.defender.plugins.module_utils._wdatp.journal import KEPT_DAYS, Journal
from ansible_collections.secops.defender.plugins.module_utils._wdatp.options import REPORT
from ansible_collections.secops.defender.plugins.module_utils._wdatp.page import Columns, Event
from ansible_collections.secops.defender.plugins.module_utils._wdatp.pull import Context
from ansible_collections.secops.defender.plugins.module_utils._wdatp.report import render, report
from ansible_collections.secops.defender.plugins.module_utils._wdatp.reporttable import harmless, table, width
from ansible_collections.secops.defender.plugins.module_utils._wdatp.store import Store
from ansible_collections.secops.defender.plugins.module_utils._wdatp.times import DAY, MINUTE, format_time, now_ticks
from collecting import CUSTOMERS, NAMES, Collector
from hypothesis import given
from hypothesis import strategies as st
from mock_api import MockTenant

TENANT = CUSTOMERS


def asked(collector: Collector, check: bool = False, **options: Any) -> dict[str, Any]:
    known = {option.name: option.default for option in REPORT}
    directories = {"config_dir": collector.config_dir, "state_dir": collector.state_dir}
    found = report({**known, **directories, **options}, Context(check_mode=check))
    # It ends in Ansible's result.
    json.dumps(found)
    return found


# --- what is shown ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("api", APIS)
def test_the_store_and_the_api_tell_the_same(collector: Collector, api: str) -> None:
    collector.define(apis=[api])
    collector.pull()
    stored = asked(collector, since="21h")
    fresh = asked(collector, since="21h", source="api", api=api, credential="msp")
    assert stored["total"] == fresh["total"] > 10
    for event in stored["events"] + fresh["events"]:
        event.pop("received")
    key = ("time", "tenant_id", "id")
    stored["events"].sort(key=lambda event: [event[name] for name in key])
    fresh["events"].sort(key=lambda event: [event[name] for name in key])
    assert stored["events"] == fresh["events"]
    assert stored["counts"] == fresh["counts"]
    assert {event["organization"] for event in stored["events"]} == set(NAMES)
    assert all(event["severity"] in ("unknown", "informational", "low", "medium", "high") for event in stored["events"])
    assert any(event["title"] for event in stored["events"])
    assert any(event["machine"] for event in stored["events"])
    assert any(event["user"] for event in stored["events"])


def test_window_filters_and_limit(collector: Collector) -> None:
    collector.define()
    collector.pull()
    everything = asked(collector, since="21h")
    times = [event["time"] for event in everything["events"]]
    assert times == sorted(times, reverse=True)
    middle = times[40]
    assert asked(collector, since=middle)["total"] == sum(time >= middle for time in times)
    assert asked(collector, since="21h", until=middle)["total"] == sum(time <= middle for time in times)
    high = asked(collector, since="21h", severity=["HIGH"])
    assert high["total"] == everything["counts"]["high"] > 0
    assert {event["severity"] for event in high["events"]} == {"high"}
    beta = asked(collector, since="21h", organization=["beta"])
    assert {event["organization"] for event in beta["events"]} == {"Beta"}
    few = asked(collector, since="21h", limit=5)
    assert few["events"] == everything["events"][:5]
    assert (few["total"], few["counts"]) == (90, everything["counts"])
    assert few["notes"] == ["85 older events are not shown: limit is 5."]
    news = asked(collector, since="21h", status=["new"])
    assert {event["status"] for event in news["events"]} == {"new"}


@pytest.mark.parametrize(
    "options",
    [{"since": "soon"}, {"since": "1h", "until": "2h"}, {"severity": ["loud"]}, {"status": ["x"]}, {"limit": 0}],
)
def test_what_makes_no_sense_is_refused(collector: Collector, options: dict[str, Any]) -> None:
    with pytest.raises(WdatpError) as caught:
        asked(collector, **options)
    assert caught.value.code == "option.invalid"


def test_nothing_yet_is_said_and_leaves_no_trace(collector: Collector) -> None:
    found = asked(collector)
    assert (found["total"], found["events"]) == (0, [])
    assert "Nothing was pulled" in found["text"]
    assert not Path(collector.state_dir).exists()


def test_what_two_jobs_received_is_shown_once(collector: Collector, tmp_path: Path) -> None:
    collector.define()
    collector.define(name="second", destinations=[{"path": str(tmp_path / "second.jsonl")}])
    collector.pull()
    collector.pull("second")
    assert asked(collector, since="21h")["total"] == 90
    assert asked(collector, since="21h", job="second")["total"] == 90


def test_a_report_while_a_pull_is_running(collector: Collector) -> None:
    collector.define()
    collector.pull()
    with Store(collector.job().state_dir(collector.state_dir)) as running, running.transaction():
        running.change("DELETE FROM shown WHERE number>?", [(0,)])
        assert asked(collector, since="21h")["total"] == 90


def test_a_store_that_is_corrupt_is_an_error(collector: Collector) -> None:
    collector.define()
    collector.pull()
    Path(collector.job().state_dir(collector.state_dir), "state.db").write_bytes(b"x" * 5000)
    with pytest.raises(WdatpError) as caught:
        asked(collector)
    assert caught.value.code == "store.corrupt"


def test_a_pull_without_a_job_is_reported_too(collector: Collector, tenant: MockTenant) -> None:
    from ansible_collections.secops.defender.plugins.module_utils._wdatp.pull import pull

    pull({**tenant.options, "state_dir": collector.state_dir, "reconcile": "no"}, Context())
    assert asked(collector, since="21h")["total"] == 30


# --- what is kept -----------------------------------------------------------------------------------------------------


def event(number: int, ticks: int) -> Event:
    return Event(ticks, f"id{number}", "v", b"{}", Columns("high", f"title {number}").packed())


def test_what_is_kept_is_bounded_by_age(tmp_path: Path) -> None:
    today = now_ticks() // DAY
    with Store(str(tmp_path)) as store:
        journal, stream = Journal(store), store.stream(store.job("x"), "t", "graph_alerts")
        ages = [0, 1, KEPT_DAYS - 1, KEPT_DAYS + 1, 100]
        with store.transaction():
            for age in ages:
                journal.add(stream, None, [event(age, now_ticks() - age * DAY)], today)
        assert [item.id for item in journal.events(0, None)] == ["id0", "id1", f"id{KEPT_DAYS - 1}"]
        with store.transaction():
            journal.prune(today + KEPT_DAYS - 1)
        assert [item.id for item in journal.events(0, None)] == ["id0", "id1"]


def test_a_job_that_never_gets_to_its_end_forgets_too(collector: Collector) -> None:
    collector.define(max_events=1)
    collector.pull()
    place = collector.job().state_dir(collector.state_dir)
    with Store(place) as store, store.transaction():
        store.change("UPDATE shown SET last=?", [(1,)])
    assert not collector.pull().to_dict()["complete"]
    with Store(place, read_only=True) as store:
        assert store.rows("SELECT count(*) FROM shown WHERE last=1") == [(0,)]


@given(batches=st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=8), max_size=120), low=st.integers(0, 40))
def test_events_come_newest_first_whatever_the_batches_were(batches: list[list[int]], low: int) -> None:
    base = now_ticks() - 60 * MINUTE
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "_connect", lambda self: sqlite3.connect(":memory:", isolation_level=None))
        with Store("/nowhere", read_only=True) as store:
            store._db.execute("INSERT INTO stream (id, job, tenant, api) VALUES (1, 1, 't', 'graph_alerts')")
            for number, batch in enumerate(batches):
                events = [event(100 * number + place, base + time) for place, time in enumerate(batch)]
                Journal(store).add(1, None, events, base // DAY)
            found = [item.time - base for item in Journal(store).events(base + low, None)]
    assert found == sorted((time for batch in batches for time in batch if time >= low), reverse=True)


# --- hostile texts ----------------------------------------------------------------------------------------------------

HOSTILE = st.text(st.characters(), max_size=60) | st.sampled_from(
    [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "</td></table><!--",
        "\x1b[2J\x1b]0;title\x07",
        "a\u202eb\u2066c",
        "\r\nfaked line",
        "e" + "\u0301" * 50,
        "漢字カナ" * 20,
        "\ud800",
        "&lt;b&gt;",
    ]
)


def result_of(*texts: str) -> dict[str, Any]:
    severity, title, status, machine, user, organization = texts
    columns = {"severity": severity, "title": title, "status": status, "machine": machine, "user": user}
    found = {
        **columns,
        "time": format_time(now_ticks()),
        "received": None,
        "organization": organization,
        "id": title,
        "api": "graph_alerts",
        "tenant_id": organization,
    }
    times = {"since": format_time(0), "until": format_time(now_ticks())}
    return {"source": "store", **times, "total": 1, "counts": {severity: 1}, "notes": [], "events": [found]}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("after delivery\u200b", "after delivery?"),
        ("a\u202egpj.exe", "a?gpj.exe"),
        ("\x1b[2Jx\x07", "?[2Jx?"),
        ("one\r\ntwo", "one??two"),
        ("jmüller 山田太郎 🐛", "jmüller 山田太郎 🐛"),
        ("e\u0301\u0302\u0303\u0304", "é\u0302\u0303"),
    ],
)
def test_what_is_no_visible_letter_is_a_question_mark(text: str, shown: str) -> None:
    assert harmless(text) == shown


@given(st.tuples(*[HOSTILE] * 6), st.integers(60, 200))
def test_no_alert_breaks_the_table(texts: tuple[str, ...], columns: int) -> None:
    lines = table(result_of(*texts), columns).split("\n")
    assert len(lines) == 4
    for line in lines[:2]:
        assert width(line) <= columns
    assert all(unicodedata.category(letter)[0] != "C" for line in lines for letter in line)


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.cells: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _value in attrs}
        if tag == "td":
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] == "td" and self.cells:
            self.cells[-1] += data


def page_of(text: str) -> Page:
    found = Page()
    found.feed(text)
    return found


EMPTY = page_of(render(result_of("high", "t", "new", "m", "u", "o"), "html"))


@given(st.tuples(*[HOSTILE] * 6))
def test_no_alert_breaks_the_page(texts: tuple[str, ...]) -> None:
    text = render(result_of(*texts), "html")
    found = page_of(text)
    assert found.tags == EMPTY.tags
    assert found.attributes == EMPTY.attributes
    assert len(found.cells) == 8
    assert text.encode()


def test_the_page_needs_nothing_else() -> None:
    text = render(result_of("high", "t", "new", "m", "u", "o"), "html")
    assert not re.search(r"https?://|src=|href=|url\(|@import", text)
    assert "default-src 'none'" in text


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_the_page_in_a_real_browser(collector: Collector, tmp_path: Path) -> None:
    """Its own script runs under its own policy, and an alert's does not."""
    title = "<img src=x onerror=\"document.title='evil'\"><script>document.title='evil'</script>"
    evil = result_of("high", title, *"abcd")
    path = tmp_path / "page.html"
    path.write_text(render(evil, "html"), "utf-8")
    options = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    more = ["--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    command = ["chromium", *options.split(), *more, path.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    assert "<title>Microsoft Defender alerts</title>" in dom
    assert "1 of 1</output>" in dom
    assert "&lt;img src=x" in dom


# --- the file ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["table", "json", "html"])
def test_the_file_changes_with_what_it_says(
    collector: Collector, tenant: MockTenant, tmp_path: Path, form: str
) -> None:
    collector.define()
    collector.pull()
    path = tmp_path / "report"
    options = {"since": "21h", "format": form, "dest": str(path)}
    assert asked(collector, check=True, **options)["changed"]
    assert not path.exists()
    assert asked(collector, **options)["changed"]
    assert path.stat().st_mode & 0o777 == 0o640
    path.chmod(0o644)
    assert not asked(collector, **options)["changed"]
    tenant.add_alerts(1)
    collector.pull()
    assert asked(collector, **options)["changed"]
    assert path.stat().st_mode & 0o777 == 0o644
    with pytest.raises(WdatpError) as caught:
        asked(collector, **{**options, "dest": str(tmp_path / "no" / "file")})
    assert caught.value.code == "option.invalid"
