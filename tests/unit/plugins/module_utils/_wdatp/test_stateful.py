# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Thousands of steps against the whole engine: a tenant that lives, a service with moods, a host where things break.

After each step the output files are looked at, and what docs/how_it_works.md promises must be true of them: whole lines
of the service's own bytes, none twice, none taken back, none missing that a run has called complete, and a cursor that
is Microsoft's text. The seed is printed; WDATP_TEST_SEED=<seed> runs the same steps again, WDATP_TEST_STEPS=<number>
runs more of them, and WDATP_TEST_SHRINK=1 looks for the shortest steps that fail.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp import (
    auth,
    files,
    manifest,
    outcome,
    store,
    times,
    transport,
)
from ansible_collections.secops.defender.plugins.module_utils._wdatp import pull as engine
from ansible_collections.secops.defender.plugins.module_utils._wdatp.destinations import file
from ansible_collections.secops.defender.plugins.module_utils._wdatp.errors import StoreError
from ansible_collections.secops.defender.plugins.module_utils._wdatp.paging import MOST_BAD_SLICES
from ansible_collections.secops.defender.plugins.module_utils._wdatp.sources import registry
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from stateful_death import Killed, Reaper, WatchedOs, watched_sqlite
from stateful_tenant import APIS, DAY, FAULTS, HOST, HOUR, LOGIN, MINUTE, SECOND, Alert, Moods, Session, Tenant, read

STEPS = int(os.environ.get("WDATP_TEST_STEPS") or (10_000 if sys.version_info >= (3, 11) else 2_000))
STEPS_A_MACHINE = 50
# More boundaries than any small pull has.
ENDLESS = 500
SECRET = "the-secret-of-the-app"
# The furthest $skip of an API that has a limit: small, so that a few ties are enough to come to it.
SKIP_LIMIT = 8
# How late an alert may come at most: less than the overlap (auto: what a stream begins with).
LATEST = {"auto": 29 * MINUTE, "2s": SECOND}
ENVELOPE = re.compile(rb'\{"wdatp": \{.*?"sequence": (\d+)\}, "alert": (.*)\}')


class Output:
    """One output file, with what was rotated away. It knows what it has seen, and that nothing of it may change."""

    def __init__(self, path: Path, tenant: Tenant) -> None:
        self.path = path
        self.tenant = tenant
        self.is_enveloped = path.name == "second.jsonl"
        self.archive: list[Path] = []
        # All alerts, those of the rotated files first.
        self.alerts: list[Alert] = []
        self.rotated = 0
        # Of the file itself: all that was there, and the torn line at its end.
        self.seen = b""
        self.torn = b""
        self.sequence = 0
        # What somebody left of lines that were cut.
        self.scraps: set[bytes] = set()

    @property
    def is_away(self) -> bool:
        return not self.path.parent.exists()

    def look(self) -> int:
        """Reads what has come to the file; how many alerts that is."""
        if self.is_away:
            return 0
        text = self.path.read_bytes() if self.path.exists() else b""
        assert text.startswith(self.seen), f"{self.path.name}: what was there before has changed"
        begin = len(self.seen) - len(self.torn)
        *lines, self.torn = text[begin:].split(b"\n")
        self.seen = text
        found = self._alerts(lines)
        self.alerts += found
        assert not self.torn or self._is_beginning(self.torn), f"{self.path.name} ends with {self.torn!r}"
        return len(found)

    def _alerts(self, lines: Iterable[bytes]) -> list[Alert]:
        return [self._alert(line) for line in lines if line not in self.scraps]

    def _alert(self, line: bytes) -> Alert:
        if self.is_enveloped:
            match = ENVELOPE.fullmatch(line)
            assert match, f"no envelope: {line!r}"
            assert int(match[1]) > self.sequence, "the sequence does not rise"
            self.sequence, line = int(match[1]), match[2]
        found = self.tenant.lines.get(line)
        assert found is not None, f"{self.path.name}: not what the service has sent: {line!r}"
        assert found.version in self.tenant.sent, f"{self.path.name}: never given out: {line!r}"
        return found

    def _is_beginning(self, torn: bytes) -> bool:
        return self.is_enveloped or torn in self.scraps or any(line.startswith(torn) for line in self.tenant.lines)

    def rotate(self) -> None:
        if self.path.exists():
            name = self.path.with_name(f"{self.path.name}.{len(self.archive)}")
            self.path.rename(name)
            self.archive.append(name)
        self.rotated = len(self.alerts)
        self.seen = self.torn = b""

    def spoil(self, text: bytes | None) -> None:
        """Somebody puts another text, or nothing at all, in the file's place."""
        if text is None:
            self.path.unlink()
        else:
            self.path.write_bytes(text)
        *lines, self.torn = (text or b"").split(b"\n")
        self.seen = text or b""
        self.scraps |= {self.torn} - {b""}
        self.sequence = 0
        del self.alerts[self.rotated :]
        self.alerts += self._alerts(lines)

    def check_whole(self) -> None:
        """All parts again, from their beginning."""
        self.sequence = 0
        texts = [path.read_bytes() for path in [*self.archive, self.path] if path.exists()]
        assert all(text.endswith(b"\n") for text in texts if text)
        assert self._alerts(line for text in texts for line in text.splitlines()) == self.alerts


class Machine(RuleBasedStateMachine):
    """One host with one job. `api_name` is set in a subclass for each API."""

    api_name = ""
    counted = 0

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp(prefix="wdatp_", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
        self.patch = pytest.MonkeyPatch()
        limited = registry.SOURCES[self.api_name].skip_limit
        self.tenant = Tenant(self.api_name, SKIP_LIMIT if limited else None)
        if limited:
            self.patch.setattr(registry.SOURCES[self.api_name], "skip_limit", SKIP_LIMIT)
        self.state = self.place / "state"
        self.reaper = Reaper(self.state / "state.db")
        self.outputs = [Output(self.place / name / f"{name}.jsonl", self.tenant) for name in ("first", "second")]
        for output in self.outputs:
            output.path.parent.mkdir()
        self.skew = 0
        self.policy = "all"
        self.overlap = "auto"
        self.page_size = 3
        self.cursor: str | None = None
        self.quarantined = 0
        self.pending = 0
        # The state directory as it was, with the cursor of that time.
        self.backup: tuple[Path, str | None, int] | None = None
        # Versions may be gone that no API gives any more.
        self.is_patched = False
        # A run died, and none has put its files in order since.
        self.is_dirty = False
        self._in_place_of_the_network()
        self._in_place_of_the_disk()

    def _in_place_of_the_network(self) -> None:
        tenant, machine = self.tenant, self

        class Clock:
            def __getattr__(self, name: str) -> Any:
                return getattr(times_time, name)

            def time_ns(self) -> int:
                return (tenant.now + machine.skew) * 100

        def ask(method: Any, claims: str | None) -> Any:
            """Entra ID's answer without MSAL, which would take longer than all else."""
            assert not claims or "essential" in claims
            return json.loads(method.transport.request("POST", f"https://{LOGIN}/token").body)

        def runtime(*args: Any) -> Any:
            found = real_runtime(*args)
            found.clock = lambda: tenant.now / SECOND
            return found

        real_runtime = engine.runtime_of
        self.patch.setattr(engine, "runtime_of", runtime)
        times_time = times.time
        self.patch.setattr(times, "time", Clock())
        self.patch.setattr(transport, "_new_session", lambda options: Session(tenant))
        self.patch.setattr(engine, "Transport", partial(transport.Transport, sleep=self._sleep))
        self.patch.setattr(auth._Method, "ask", ask)

    def _sleep(self, seconds: float) -> None:
        self.tenant.now += int(seconds * SECOND)

    def _in_place_of_the_disk(self) -> None:
        watched = WatchedOs(self.reaper)
        self.patch.setattr(store, "os", watched)
        self.patch.setattr(file, "os", watched)
        self.patch.setattr(files, "os", watched)
        self.patch.setattr(manifest, "os", watched)
        self.patch.setattr(store, "sqlite3", watched_sqlite(self.reaper))
        self.patch.setattr(store, "_LOCK_SECONDS", -1.0)

    @initialize(
        skew=st.sampled_from([0, -2 * DAY, 3 * DAY]),
        policy=st.sampled_from(["all", "all", "latest", "new_only", "changed"]),
        overlap=st.sampled_from(["auto", "2s"]),
        page_size=st.integers(2, 7),
        amount=st.integers(0, 12),
    )
    def begin(self, skew: int, policy: str, overlap: str, page_size: int, amount: int) -> None:
        self.skew, self.policy, self.overlap = skew, policy, overlap
        # Where rows do not come oldest first, small pages cost very many questions.
        self.page_size = page_size if self.tenant.api.is_ordered else 4 + page_size
        self.tenant.add(amount, self.tenant.now - DAY, 3 * MINUTE)
        # Before what a first run looks back: it comes only if it changes.
        self.tenant.add(1, self.tenant.now - 40 * DAY)

    # --- what happens in the tenant ----------------------------------------------------------------------------------

    @rule(amount=st.integers(1, 5))
    def add(self, amount: int) -> None:
        self._add(amount)

    def _add(self, amount: int) -> None:
        self.tenant.add(amount, self.tenant.now, 1)
        self.tenant.now += amount

    @rule(amount=st.integers(2, 12), age=st.sampled_from([0, 1, 7 * SECOND]))
    def add_tied(self, amount: int, age: int) -> None:
        self.tenant.add(amount, self.tenant.now, 0, age)
        self.tenant.now += 1

    @rule(amount=st.integers(1, 3), late=st.integers(1, LATEST["auto"]), step=st.sampled_from([0, 1, SECOND]))
    def add_late(self, amount: int, late: int, step: int) -> None:
        late = min(late, LATEST[self.overlap])
        self.tenant.add(amount, self.tenant.now - late, min(step, late // amount))

    @rule(amount=st.integers(1, 9))
    def add_at_the_cursor(self, amount: int) -> None:
        self.tenant.add(amount, self._cursor_time(), 0)

    def _cursor_time(self) -> int:
        """The update time that was read last; where a killed run may have gone on from there, one that is safe."""
        known = read(self.cursor) if self.cursor else 0
        return max(known, self.tenant.now - LATEST[self.overlap])

    @rule(which=st.integers(0, 99), amount=st.integers(1, 3), is_touch=st.booleans(), late=st.sampled_from([0, SECOND]))
    def update(self, which: int, amount: int, is_touch: bool, late: int) -> None:
        self._update(which, amount, self.tenant.now - late, is_touch)

    @rule(which=st.integers(0, 99), amount=st.integers(1, 5))
    def update_at_the_cursor(self, which: int, amount: int) -> None:
        self._update(which, amount, self._cursor_time(), False)

    def _update(self, which: int, amount: int, moment: int, is_touch: bool) -> None:
        alerts = list(self.tenant.alerts.values())
        for number in range(amount if alerts else 0):
            self.tenant.update(alerts[(which + number) % len(alerts)], moment, is_touch)
        self.tenant.now += 1

    @rule(ticks=st.sampled_from([1, SECOND // 1000, SECOND, 10 * MINUTE, 50 * MINUTE]))
    def time_goes_on(self, ticks: int) -> None:
        self.tenant.now += ticks

    # --- moods of the service ----------------------------------------------------------------------------------------

    @rule(
        clamp=st.sampled_from([None, None, None, 1, 2, 3, 5]),
        order=st.sampled_from(["asked", "asked", "desc", "mixed"]),
        links=st.sampled_from(["on", "on", "off", "refused", "foreign", "loop", "empty"]),
        skips=st.sampled_from([True, True, False]),
        doubles=st.booleans(),
        open_bounds=st.booleans(),
    )
    def mood(self, **moods: Any) -> None:
        self.tenant.moods = Moods(**moods)

    @rule()
    def calm(self) -> None:
        self.tenant.moods = Moods()
        self.tenant.poison.clear()

    @precondition(lambda self: len(self.tenant.alerts) > len(self.tenant.poison) < 3)
    @rule(which=st.integers(0, 99), how=st.sampled_from(["fails", "breaks off"]))
    def an_alert_goes_bad(self, which: int, how: str) -> None:
        numbers = list(self.tenant.alerts)
        self.tenant.poison[numbers[-1 - which % len(numbers)]] = how

    # --- what happens on the host ------------------------------------------------------------------------------------

    @precondition(lambda self: not self.outputs[1].is_away)
    @rule()
    def a_directory_is_taken_away(self) -> None:
        self.outputs[1].path.parent.rename(self.place / "away")

    @precondition(lambda self: self.outputs[1].is_away)
    @rule()
    def it_comes_back(self) -> None:
        (self.place / "away").rename(self.outputs[1].path.parent)

    @precondition(lambda self: not self.is_dirty)
    @rule(which=st.integers(0, 1))
    def rotate(self, which: int) -> None:
        if not self.outputs[which].is_away:
            self.outputs[which].rotate()

    def _may_lose_its_state(self) -> bool:
        """A ledger that is gone can't tell which versions were left out, nor what a killed run was about to write."""
        return self.policy in ("all", "latest") and not self.is_dirty and not self.outputs[1].is_away

    @precondition(lambda self: self._may_lose_its_state() and self.state.exists())
    @rule()
    def state_is_backed_up(self) -> None:
        place = self.place / "backup"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self.state, place)
        self.backup = place, self.cursor, self.quarantined

    @precondition(lambda self: self._may_lose_its_state() and self.backup)
    @rule()
    def state_is_restored(self) -> None:
        assert self.backup
        place, self.cursor, self.quarantined = self.backup
        shutil.rmtree(self.state)
        shutil.copytree(place, self.state)
        self._state_has_changed()

    def _state_has_changed(self) -> None:
        self.is_patched = True

    @precondition(lambda self: self._may_lose_its_state() and self.state.exists())
    @rule()
    def state_is_lost(self) -> None:
        shutil.rmtree(self.state)
        self.cursor, self.quarantined, self.backup = None, 0, None
        self._state_has_changed()

    def _is_settled(self) -> bool:
        """Whether it is plain what the files lack: what no run has met yet, and what somebody took away."""
        is_there = not self.outputs[1].is_away and self.state.exists()
        return self.policy == "all" and is_there and not self.is_dirty and not self.pending and not self._is_crowded()

    @precondition(_is_settled)
    @rule(
        which=st.integers(0, 1),
        how=st.sampled_from(["cut", "edited", "deleted", "left alone"]),
        share=st.integers(0, 9),
    )
    def somebody_spoils_a_file(self, which: int, how: str, share: int) -> None:
        """And `reconcile` names what is missing, and fills it."""
        output = self.outputs[which]
        if how != "left alone" and output.path.exists():
            text = output.seen
            lines = text.splitlines(keepends=True)
            edited = b"".join(line for number, line in enumerate(lines) if number % 10 != share)
            end = len(text) * share // 10
            # A line that lacks nothing but its end is no scrap.
            cut = text[: end - (end > 0 and text[end : end + 1] == b"\n")]
            output.spoil({"cut": cut, "edited": edited, "deleted": None}[how])
            self.is_patched = True
        self.calm()
        self.tenant.now = max(self.tenant.now, self.tenant.closed_until)
        missing = [
            alert.id
            for alert in self.tenant.alerts.values()
            if not self._is_ancient(alert) and not all(alert in output.alerts for output in self.outputs)
        ]
        before = self._disk()
        self.tenant.begin_pull({}, {})
        report = engine.pull(self._options(reconcile="report"), engine.Context()).to_dict()
        assert self._disk() == before
        if report["complete"]:
            assert sorted(report["reconciled"]["ids"]) == sorted(missing)
            assert not report["manifest"]["problems"] or self.is_patched
        filled = self._pull(reconcile="fill")
        if filled["complete"]:
            assert filled["reconciled"]["filled"] == len(missing)

    # --- pulls -------------------------------------------------------------------------------------------------------

    @rule()
    def pull(self) -> None:
        self._pull()

    @rule(
        faults=st.dictionaries(st.integers(0, 8), st.sampled_from(FAULTS), max_size=3),
        max_events=st.sampled_from([None, None, 1, 4]),
        max_bytes=st.sampled_from([None, None, 1, 1500]),
    )
    def pull_with_faults(self, faults: dict[int, str], max_events: int | None, max_bytes: int | None) -> None:
        self._pull(faults, max_events=max_events, max_bytes=max_bytes)

    @rule(at=st.integers(0, 6), amount=st.integers(1, 3), is_update=st.booleans())
    def pull_while_alerts_move(self, at: int, amount: int, is_update: bool) -> None:
        def move() -> None:
            self._update(at, amount, self.tenant.now, False) if is_update else self._add(amount)

        self._pull(events={at: move})

    @rule(
        boundaries=st.integers(0, 90),
        share=st.integers(0, 10),
        faults=st.sampled_from([{}, {0: "failed"}]),
        reconcile=st.sampled_from(["no", "no", "fill"]),
    )
    def pull_that_is_killed(self, boundaries: int, share: int, faults: dict[int, str], reconcile: str = "no") -> None:
        if self.outputs[1].is_away:
            # A fill needs the files.
            reconcile = "no"
        self.tenant.begin_pull(faults, {})
        self.reaper.arm(boundaries, share)
        report = None
        try:
            report = engine.pull(self._options(reconcile=reconcile), engine.Context())
        except Killed:
            self.is_dirty = True
        finally:
            self.reaper.disarm()
        if report is not None:
            self._judge(report, set(), is_quiet=False)

    @rule()
    def two_pulls_at_a_time(self) -> None:
        def intrude() -> None:
            with pytest.raises(StoreError) as caught:
                engine.pull(self._options(), engine.Context())
            assert caught.value.code == "store.busy"

        self._pull(events={0: intrude})

    @rule()
    def check_mode(self) -> None:
        before = self._disk()
        self.tenant.begin_pull({}, {})
        expected = engine.pull(self._options(), engine.Context(check_mode=True)).to_dict()
        assert self._disk() == before
        if expected["complete"]:
            report = self._pull()
            # What was put aside and can be read again, a real run reads twice: once by itself.
            names = ("new", "updated")
            assert [report[name] for name in names] == [expected[name] for name in names]

    def _disk(self) -> dict[str, bytes]:
        """Every file that lasts: what runs tell each other and SQLite's shared memory do not."""
        return {
            str(path): path.read_bytes()
            for path in self.place.rglob("*")
            if path.is_file() and not path.name.endswith("-shm") and path.parent.name != "runtime"
        }

    def _options(self, **more: Any) -> dict[str, Any]:
        destinations = [{"path": str(output.path)} for output in self.outputs]
        destinations[1]["format"] = "envelope"
        return {
            "tenant_id": "contoso.example",
            "client_id": "22be4277-8f4b-50c8-b395-b66cbac635fb",
            "client_secret": SECRET,
            "api": self.api_name,
            "api_url": f"https://{HOST}",
            "retries": 2,
            "state_dir": str(self.state),
            "runtime_dir": str(self.place / "runtime"),
            "destinations": destinations,
            "page_size": self.page_size,
            "initial_lookback": "4d",
            "updates": self.policy,
            "overlap": self.overlap,
            **more,
        }

    def _pull(
        self,
        faults: dict[int, str] | None = None,
        events: dict[int, Callable[[], object]] | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        visible = {alert.version for alert in self.tenant.alerts.values()}
        is_easy = self._is_easy()
        self.tenant.begin_pull(faults or {}, events or {})
        report = engine.pull(self._options(**options), engine.Context())
        is_quiet = is_easy and not any(options.values()) and not self.tenant.was_faulty
        return self._judge(report, visible, is_quiet)

    def _is_easy(self) -> bool:
        """Whether the service gives a pull no reason not to get everything."""
        tenant, moods = self.tenant, self.tenant.moods
        fullest = max(Counter(alert.updated for alert in tenant.alerts.values()).values(), default=0)
        is_roomy = fullest < min(self.page_size, moods.clamp or self.page_size) or moods == Moods()
        # Of many moments that were put aside, a run tries the oldest.
        is_tidy = not self.is_dirty and self.quarantined <= MOST_BAD_SLICES
        is_open = tenant.now >= tenant.closed_until
        return is_open and not tenant.poison and moods.skips and is_roomy and is_tidy and not self._is_crowded()

    def _is_crowded(self) -> bool:
        """Whether one moment holds more alerts than an API with a limit for $skip can be trusted to give."""
        moments = Counter((alert.updated, alert.created) for alert in self.tenant.alerts.values())
        return self.tenant.skip_limit is not None and max(moments.values(), default=0) > self.tenant.skip_limit

    # --- what must be true -------------------------------------------------------------------------------------------

    def _judge(self, report: outcome.PullReport, visible: set[tuple[str, str]], is_quiet: bool) -> dict[str, Any]:
        """After a run that came to its end. `visible`: the versions that were there when it began."""
        found, stream = report.to_dict(), report.streams[0]
        assert found["fetched"] == found["new"] + found["updated"] + found["duplicates"]
        self.quarantined, self.pending = found["quarantined"], found["pending"]
        self._judge_cursor(stream)
        self._judge_files(found)
        now = {alert.version for alert in self.tenant.alerts.values()}
        lasting = [alert for alert in self.tenant.alerts.values() if alert.version in visible & now]
        if is_quiet:
            assert stream.error is None, stream.error
            assert stream.complete
        if stream.complete:
            assert stream.error is None
            assert not self.tenant.was_partial
            assert found["quarantined"] == 0
            self._demand(lasting, found)
        elif stream.after != stream.before and not found["quarantined"]:
            reached = read(stream.after or "")
            self._demand([alert for alert in lasting if alert.updated < reached], found)
        return found

    def _judge_cursor(self, stream: outcome.StreamReport) -> None:
        before, after = stream.before, stream.after
        if not self.is_dirty:
            assert before == self.cursor
        elif self.cursor:
            assert before
            assert read(before) >= read(self.cursor)
        if after:
            assert after in {text for _id, text in self.tenant.sent}, "the cursor is not the service's own text"
            assert before is None or read(after) >= read(before), "the cursor has gone back"
        else:
            assert before is None
        self.cursor = after

    def _judge_files(self, found: dict[str, Any]) -> None:
        was_dirty, self.is_dirty = self.is_dirty, False
        for output, item in zip(self.outputs, found["destinations"]):
            lines = output.look()
            if item["error"] is None:
                assert item["pending"] == 0
                assert not output.torn
                assert was_dirty or lines == item["written"]
            else:
                assert output.is_away
                assert item["error"]["code"] == "destination.no_directory"
                # What a killed run meant to write there is still open.
                self.is_dirty = was_dirty
        assert found["pending"] == max(item["pending"] for item in found["destinations"])

    def _demand(self, alerts: list[Alert], found: dict[str, Any]) -> None:
        """These must be in every file that takes something."""
        for output, item in zip(self.outputs, found["destinations"]):
            if item["error"] is None:
                missing = [alert for alert in alerts if not self._is_ancient(alert) and not self._has(output, alert)]
                assert not missing, f"{output.path.name} lacks {missing}"

    @staticmethod
    def _is_ancient(alert: Alert) -> bool:
        return alert.updated == alert.created and alert.updated < START_OF_WINDOW

    def _has(self, output: Output, alert: Alert) -> bool:
        mine = [item for item in output.alerts if item.number == alert.number]
        if self.policy == "new_only":
            return bool(mine)
        if self.policy == "changed":
            return bool(mine) and mine[-1].content == alert.content
        return alert in mine

    @invariant()
    def files_are_sound(self) -> None:
        type(self).counted += 1
        for output in self.outputs:
            output.look()
            twice = [item for item, count in Counter(item.version for item in output.alerts).items() if count > 1]
            assert not twice, f"{output.path.name} has twice: {twice}"
            if self.policy == "new_only":
                assert len({item.number for item in output.alerts}) == len(output.alerts)
        assert not self.tenant.breaches

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None:
                self._end_well()
        finally:
            self.patch.undo()
            shutil.rmtree(self.place)

    def _end_well(self) -> None:
        """Nothing is in the way any more: a few pulls, and all is there."""
        if self.outputs[1].is_away:
            self.it_comes_back()
        self.calm()
        self.tenant.now += 2 * HOUR
        for _number in range(2 + self.quarantined // MOST_BAD_SLICES):
            self._pull()
        report = self._pull()
        assert (report["new"], report["updated"], report["pending"]) == (0, 0, 0)
        if not self._is_crowded():
            assert (report["complete"], report["quarantined"]) == (True, 0)
        self._demand(list(self.tenant.alerts.values()), report)
        self.files_are_sound()
        first, second = (output.alerts for output in self.outputs)
        assert first == second or self.is_patched
        for output in self.outputs:
            output.check_whole()
        for path in self.place.rglob("*"):
            content = path.read_bytes() if path.is_file() else b""
            assert SECRET.encode() not in content
            assert b"token-" not in content


def machine_of(api: str) -> type[Machine]:
    return type("MachineOf" + api.title().replace("_", ""), (Machine,), {"api_name": api, "counted": 0})


SETTINGS = settings(
    stateful_step_count=STEPS_A_MACHINE,
    deadline=None,
    database=None,
    report_multiple_bugs=False,
    # Finding the shortest steps that fail takes minutes: longer than a test may take in a gate.
    phases=(Phase.generate, Phase.shrink) if os.environ.get("WDATP_TEST_SHRINK") else (Phase.generate,),
    suppress_health_check=list(HealthCheck),
)
START_OF_WINDOW = Tenant("graph_alerts", None).now - 4 * DAY


@pytest.fixture
def no_settings_of_this_host(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith(("WDATP_", "AZURE_"))]:
        monkeypatch.delenv(name)
    yield


@pytest.mark.parametrize("api", APIS)
def test_cursor_is_spelled_as_the_service_does(api: str, no_settings_of_this_host: None) -> None:
    """Of a time at a full second, it writes no fraction: the cursor has none either."""
    machine = machine_of(api)()
    try:
        machine.tenant.put(Alert(0, machine.tenant.now, machine.tenant.now, 0))
        assert machine._pull()["cursor"]["after"] == "2026-09-21T14:13:20Z"
    finally:
        machine.teardown()


def test_small_pull_that_is_killed_anywhere(no_settings_of_this_host: None) -> None:
    """Alerts that lie further apart than the overlap, which would hide it if the cursor came before them."""
    for boundary in range(ENDLESS):
        machine = machine_of("graph_alerts")()
        try:
            machine.overlap = "2s"
            machine.tenant.add(4, machine.tenant.now - HOUR, MINUTE)
            machine.pull_that_is_killed(boundary, 5, {})
            was_killed = machine.is_dirty
            machine.pull()
            machine.files_are_sound()
        finally:
            machine.teardown()
        if not was_killed:
            break
    assert 40 < boundary < ENDLESS - 1


@pytest.mark.parametrize("api", APIS)
def test_nothing_is_lost_and_nothing_comes_twice(
    api: str, stateful_seed: int, no_settings_of_this_host: None, record_property: Callable[[str, object], None]
) -> None:
    machine = machine_of(api)
    steps = -(-STEPS // len(APIS))
    print(f"WDATP_TEST_SEED={stateful_seed} runs these steps again; with WDATP_TEST_SHRINK=1, the shortest that fail.")
    # Some machines end before their last step.
    while machine.counted < steps:
        missing = -(-(steps - machine.counted) // STEPS_A_MACHINE)
        run_state_machine_as_test(
            seed(f"{stateful_seed} {machine.counted}")(machine), settings=settings(SETTINGS, max_examples=missing)
        )
    record_property("stateful_seed", stateful_seed)
    record_property("stateful_steps", machine.counted)
    assert machine.counted >= steps
