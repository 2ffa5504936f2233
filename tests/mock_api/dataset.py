# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One tenant's alerts: seeded, computed from their number, seen the same through all four APIs."""

from __future__ import annotations

import itertools
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from . import shapes_exporter, shapes_graph, shapes_mde
from .clock import DOTNET_EPOCH, SECOND, parse_span, parse_time, time_text
from .estate import Values, machine_values, people_values
from .jsontext import LAYOUTS, Template, compile_template
from .scenarios import ADVICE, STORIES, Story
from .timeline import Axis, Key, Timeline, mix

APIS = ("graph_alerts", "graph_incidents", "mde_alerts", "alert_exporter")
STATUSES = ("new", "inProgress", "resolved")
_MALWARE = (b"Wacatac", b"EICAR_Test_File", b"Mimikatz", "Böse\\u00e9".encode())
_FOLDERS = {"windows": b"C:\\\\Windows\\\\System32", "linux": b"/usr/bin", "macos": b"/Applications/A\xcc\x88.app"}
# Odd multipliers: alert number <-> number inside the id, one to one.
_MUL32, _MUL48 = 0x9E3779B1, 0x5DEECE66D
_INV32, _INV48 = pow(_MUL32, -1, 1 << 32), pow(_MUL48, -1, 1 << 48)
_TICKS_ID = re.compile(r"da\d{18}_(-?\d{1,10})")
_GUID_ID = re.compile(r"(?:ad|aa|fa|ca)?[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-([0-9a-f]{12})(?:_1)?")
# Up to so many alerts, a share of them is recent: a small tenant shall have something to show for the last minutes.
_FEW = 5000
_SERIALS = itertools.count()


@dataclass(frozen=True)
class DataOptions:
    """What the data of one tenant shall be like."""

    tenant_id: str
    domain: str
    alerts: int = 1000
    seed: int = 1
    ties: int | None = None
    big_tie: int = 0
    big_tie_at: float = 0.5
    span: str | float = "24h"
    end: str | None = None
    recent_share: float | None = None
    size: int = 0
    layout: str = "compact"
    incident_size: int = 7

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise ValueError(f"layout is one of {', '.join(LAYOUTS)}, not {self.layout!r}")
        for name, least in (("alerts", 0), ("big_tie", 0), ("size", 0), ("incident_size", 1), ("ties", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} is {value}, and must be {least} or more")
        if not 0 <= (self.recent_share or 0) <= 1:
            raise ValueError(f"recent_share is {self.recent_share}, and must lie between 0 and 1")
        axis = make_axis(self, 0)
        if axis.end - axis.start < axis.groups:
            raise ValueError(f"a span of {self.span} is too short for {self.alerts} alerts")


def make_axis(options: DataOptions, now: int) -> Axis:
    end = parse_time(options.end) if options.end else now
    span = int(parse_span(options.span) * SECOND)
    recent = 15 * 60 * SECOND
    share = options.recent_share
    if share is None:
        share = 0.3 if options.alerts <= _FEW else 0.0
    if span <= 2 * recent:
        share = 0.0
    big = min(options.big_tie, options.alerts)
    position = options.big_tie_at
    at = int(position if position > 1 else position * options.alerts)
    return Axis(
        count=options.alerts,
        start=end - span,
        end=end,
        seed=options.seed,
        ties=options.ties,
        big_tie=big,
        big_tie_at=max(0, min(at, options.alerts - big)),
        recent_share=share,
        recent_from=end - recent if share else end,
    )


class Dataset:
    """Answers: which alerts lie between two times, and what bytes each of them is."""

    def __init__(self, options: DataOptions, now: int) -> None:
        self.options = options
        self.lock = threading.RLock()
        # Under these two, rendered pages are kept: no other data, before or after, has the same pair.
        self.serial = next(_SERIALS)
        self.version = 0
        self.axis = make_axis(options, now)
        self.count = options.alerts
        self._per_incident = options.incident_size
        self._base_incidents = -(-self.count // self._per_incident)
        self.alerts = Timeline(self.count, self.axis.ticks)
        self.incidents = Timeline(self._base_incidents, self._base_incident_ticks)
        self._born: dict[int, int] = {}
        self._revisions: dict[int, int] = {}
        self._machines = machine_values(options.tenant_id, options.domain)
        self._people = people_values(options.tenant_id, options.domain)
        self._templates: dict[tuple[Any, ...], Template] = {}
        self._salt = mix(options.seed * 7_368_787)
        self._tenant = options.tenant_id.encode()

    # --- facts about one alert -------------------------------------------------------------------------------------

    def _bits(self, number: int) -> int:
        return mix(self._salt + number)

    def story(self, number: int) -> Story:
        return STORIES[self._bits(number) % len(STORIES)]

    def born(self, number: int) -> int:
        """The update time that the alert came with, before any later change."""
        return self.axis.ticks(number) if number < self.count else self._born[number]

    def created(self, number: int) -> int:
        return self._created(number, self._bits(number))

    def _created(self, number: int, bits: int) -> int:
        """Mostly minutes before the update, sometimes days, sometimes the very same moment."""
        born, kind = self.born(number), bits >> 20 & 15
        if kind == 0:
            return born
        if kind == 1:
            return (born - (bits >> 24) % (5 * 86400) * SECOND) // SECOND * SECOND
        return born - (bits >> 24) % (300 * SECOND)

    def severity(self, number: int) -> str:
        bits = self._bits(number)
        choice = STORIES[bits % len(STORIES)].severity
        return choice[(bits >> 8) % len(choice)]

    def status(self, number: int) -> str:
        start = (0, 0, 0, 0, 0, 0, 1, 2)[self._bits(number) >> 12 & 7]
        return STATUSES[(start + self._revisions.get(number, 0)) % 3]

    def classification(self, number: int) -> str | None:
        kind = self._bits(number) >> 16 & 7
        return {0: "truePositive", 1: "falsePositive", 2: "unknown"}.get(kind)

    def determination(self, number: int) -> str | None:
        return {"truePositive": "malware", "falsePositive": "clean"}.get(self.classification(number) or "")

    def incident_number(self, number: int) -> int:
        if number < self.count:
            return number // self._per_incident
        return self._base_incidents + (number - self.count) // self._per_incident

    def incident_id(self, incident: int) -> int:
        return 10_000 + incident

    def investigation(self, number: int) -> int | None:
        bits = self._bits(number)
        return None if bits >> 3 & 1 else 700_000 + bits % 100_000

    def person(self, number: int) -> Values:
        return self._people[(self._bits(number) >> 40) % len(self._people)]

    def assigned(self, number: int) -> bytes:
        return self.person(number)["analyst"] if self._bits(number) & 4 else b"null"

    def assigned_text(self, number: int) -> str | None:
        value: str | None = json.loads(self.assigned(number))
        return value

    def last_event(self, number: int) -> int:
        bits = self._bits(number)
        created = self._created(number, bits)
        return _first_event(created, mix(bits)) if bits & 8 else created

    def machine_group(self, number: int) -> str:
        bits = self._bits(number)
        machines = self._machines[STORIES[bits % len(STORIES)].system]
        return str(json.loads(b'"' + machines[(bits >> 48) % len(machines)]["host_group"] + b'"'))

    def alert_id(self, number: int) -> str:
        bits = self._bits(number)
        return self._alert_id(number, bits, self._created(number, bits))

    def _alert_id(self, number: int, bits: int, created: int) -> str:
        form = STORIES[bits % len(STORIES)].id_form
        if form == "ticks":
            tail = (number * _MUL32 + self._salt & 0xFFFFFFFF) - (1 << 31)
            return f"da{created + DOTNET_EPOCH:018}_{tail}"
        node = number * _MUL48 + self._salt & 0xFFFFFFFFFFFF
        words = f"{bits >> 32:08x}-{bits >> 16 & 0xFFFF:04x}-4{bits >> 4 & 0xFFF:03x}-a{bits & 0xFFF:03x}"
        body = f"{words}-{node:012x}"
        return "da" + body + "_1" if form == "guid" else form + body

    def find_alert(self, alert_id: str) -> int | None:
        """The number of the alert with this id."""
        ticks, guid = _TICKS_ID.fullmatch(alert_id), _GUID_ID.fullmatch(alert_id.removeprefix("da"))
        if ticks:
            number = (int(ticks[1]) + (1 << 31) - self._salt) * _INV32 & 0xFFFFFFFF
        elif guid:
            number = (int(guid[1], 16) - self._salt) * _INV48 & 0xFFFFFFFFFFFF
        else:
            return None
        known = number < self.count or number in self._born
        return number if known and self.alert_id(number) == alert_id else None

    def find_incident(self, text: str) -> int | None:
        number = int(text) - self.incident_id(0) if text.isascii() and text.isdigit() else -1
        return number if 0 <= number < self._incident_total() else None

    def _incident_total(self) -> int:
        return self._base_incidents + -(-len(self._born) // self._per_incident)

    def members(self, incident: int) -> range:
        """The numbers of the alerts in an incident."""
        size = self._per_incident
        if incident < self._base_incidents:
            return range(incident * size, min((incident + 1) * size, self.count))
        first = self.count + (incident - self._base_incidents) * size
        return range(first, min(first + size, self.count + len(self._born)))

    def _base_incident_ticks(self, incident: int) -> int:
        return self.axis.ticks(min((incident + 1) * self._per_incident, self.count) - 1)

    # --- the slots of one alert ------------------------------------------------------------------------------------

    def values(self, number: int, ticks: int) -> Values:
        bits = self._bits(number)
        story = STORIES[bits % len(STORIES)]
        created = self._created(number, bits)
        more = mix(bits)
        updated_text = time_text(ticks).encode()
        first_text = time_text(_first_event(created, more)).encode()
        severity = story.severity[(bits >> 8) % len(story.severity)]
        status = self.status(number)
        classification, determination = self.classification(number), self.determination(number)
        machines = self._machines[story.system]
        person = self._people[(bits >> 40) % len(self._people)]
        digest = b"%016x%016x" % (bits, more)
        return {
            **machines[(bits >> 48) % len(machines)],
            **person,
            "id": (alert_id := self._alert_id(number, bits, created).encode()),
            "provider_id": alert_id[2:] if story.id_form in ("ad", "aa", "fa", "ca") else alert_id,
            "incident": b"%d" % self.incident_id(self.incident_number(number)),
            "investigation": b"null" if bits >> 3 & 1 else b"%d" % (700_000 + bits % 100_000),
            "tenant": self._tenant,
            "status": status.encode(),
            "Status": (status[0].upper() + status[1:]).encode(),
            "severity": severity.encode(),
            "Severity": b"UnSpecified" if severity == "unknown" else severity.capitalize().encode(),
            "classification": _word(classification),
            "Classification": _Word(classification),
            "determination": _word(determination),
            "Determination": _Word(determination),
            "assigned": person["analyst"] if bits & 4 else b"null",
            "created": time_text(created).encode(),
            "updated": updated_text,
            "resolved": b'"' + updated_text + b'"' if status == "resolved" else b"null",
            "first": first_text,
            "last": first_text if bits & 8 else time_text(created).encode(),
            "detector": b"%08x-4f2a-43ef-b1d5-%012x" % (more & 0xFFFFFFFF, bits & 0xFFFFFFFFFFFF),
            "guid": b"%08x-%04x-4000-8000-%012x" % (bits & 0xFFFFFFFF, more & 0xFFFF, more >> 16),
            "hex16": b"%016x" % more,
            "big": b"%d" % (more | 1 << 63),
            "malware": _MALWARE[more % len(_MALWARE)],
            "folder": _FOLDERS[story.system],
            "sha1": digest + b"%08x" % (bits & 0xFFFFFFFF),
            "sha256": digest + digest[::-1],
            "md5": digest,
            "external": digest.upper() + b"ABCD0123",
            "file_size": b"%d" % (more % 50_000_000),
            "pid": b"%d" % (4 + more % 65_000),
            "parent_pid": b"%d" % (4 + bits % 65_000),
            "remote_ip": b"198.51.100.%d" % (1 + more % 250),
            "report": b"%d" % (more % 2_000_000_000),
        }

    # --- bytes -----------------------------------------------------------------------------------------------------

    def alert_bytes(self, api: str, entry: Key, detail: bool) -> bytes:
        """`detail`: evidence in mde_alerts, unknown enum members in graph_alerts."""
        ticks, number = entry
        values = self.values(number, ticks)
        template = self._template(api, STORIES[self._bits(number) % len(STORIES)], detail)
        return template.fill(values)

    def exporter_rows(self, entry: Key) -> list[tuple[str, bytes]]:
        """The rows of one alert: one to three parts, each with its FullId."""
        ticks, number = entry
        values = self.values(number, ticks)
        bits = self._bits(number)
        template = self._template("alert_exporter", STORIES[bits % len(STORIES)], bool(bits >> 10 & 1))
        rows = []
        for part in range((1, 1, 1, 2, 1, 1, 3, 1)[bits >> 28 & 7]):
            values["part"] = b"%d" % part
            values["ioc"] = b"R4xEdgAvDb2LQl3BgHoA%016x%dYhY=" % (mix(bits + part), part)
            rows.append((f"{values['id'].decode()}:{values['ioc'].decode()}", template.fill(values)))
        return rows

    def incident_bytes(self, entry: Key, expand: bool, unknown_members: bool) -> bytes:
        ticks, incident = entry
        members = self.members(incident)
        values = self.values(members[0], ticks)
        values["incident"] = b"%d" % self.incident_id(incident)
        values["incident_status"] = self.incident_status(incident).encode()
        values["severity"] = self.incident_severity(incident).encode()
        values["created"] = time_text(self.incident_created(incident)).encode()
        values["redirect"] = b"null"
        values["alert_count"] = b"%d" % len(members)
        if expand:
            bodies = (
                self.alert_bytes("graph_alerts", (self.alerts.ticks(number), number), unknown_members)
                for number in members
            )
            values["alerts"] = b"[" + b",".join(bodies) + b"]"
        return self._incident_template(expand).fill(values)

    def incident_created(self, incident: int) -> int:
        return min(self.created(number) for number in self.members(incident))

    def incident_severity(self, incident: int) -> str:
        order = ("unknown", "informational", "low", "medium", "high")
        return max((self.severity(number) for number in self.members(incident)), key=order.index)

    def incident_status(self, incident: int) -> str:
        states = {self.status(number) for number in self.members(incident)}
        if states == {"resolved"}:
            return "resolved"
        return "inProgress" if states != {"new"} else "active"

    def _incident_template(self, expand: bool) -> Template:
        key = ("graph_incidents", expand)
        if key not in self._templates:
            self._templates[key] = compile_template(shapes_graph.incident(expand), self.options.layout)
        return self._templates[key]

    def _template(self, api: str, story: Story, detail: bool) -> Template:
        key = (api, story.title, detail)
        template = self._templates.get(key)
        if template is None:
            template = self._templates[key] = self._padded(_SHAPES[api], api, story, detail)
        return template

    def _padded(self, shape: Callable[..., Any], api: str, story: Story, detail: bool) -> Template:
        """A template whose alerts have about the size that was asked for."""
        natural = compile_template(shape(story, detail, ("", [])), self.options.layout)
        sample = {**self._sample_values(story), "part": b"0", "ioc": b"R4xEdgAvDb2LQl3BgHoA3NYqKmRSiIAG7dpxAJCYZhY="}
        missing = self.options.size - natural.size(sample)
        if missing <= 0:
            return natural
        spare = shapes_mde.spare_evidence() if api == "mde_alerts" else shapes_graph.spare_evidence()
        if api == "mde_alerts" and not detail:
            spares = []
        else:
            spares = [spare] * (missing // (compile_template(spare, self.options.layout).size(sample) + 1))
        fuller = compile_template(shape(story, detail, ("", spares)), self.options.layout)
        missing = self.options.size - fuller.size(sample)
        text = ((ADVICE.replace("\n", " ").replace("\t", " ") + " ") * (missing // len(ADVICE) + 1))[: max(0, missing)]
        return compile_template(shape(story, detail, (text, spares)), self.options.layout)

    def _sample_values(self, story: Story) -> Values:
        """Values of some alert; only their lengths count here."""
        entry = (self.axis.end, 0) if self.count else (self.axis.end, next(iter(self._born)))
        return {**self.values(entry[1], entry[0]), **self._machines[story.system][0]}

    # --- changes while it runs -------------------------------------------------------------------------------------

    def add(self, ticks: list[int]) -> list[str]:
        """New alerts with these update times."""
        with self.lock:
            numbers = range(self.count + len(self._born), self.count + len(self._born) + len(ticks))
            for number, moment in zip(numbers, ticks):
                self._born[number] = moment
                self.alerts.put(number, moment)
            for incident in sorted({self.incident_number(number) for number in numbers}):
                self._touch_incident(incident)
            self.version += 1
            return [self.alert_id(number) for number in numbers]

    def update(self, numbers: list[int], ticks: list[int]) -> list[str]:
        """Another status and a new update time for these alerts."""
        with self.lock:
            for number, moment in zip(numbers, ticks):
                self._revisions[number] = self._revisions.get(number, 0) + 1
                self.alerts.put(number, moment)
            for incident in sorted({self.incident_number(number) for number in numbers}):
                self._touch_incident(incident)
            self.version += 1
            return [self.alert_id(number) for number in numbers]

    def _touch_incident(self, incident: int) -> None:
        self.incidents.put(incident, max(self.alerts.ticks(number) for number in self.members(incident)))

    def newest(self, amount: int) -> list[Key]:
        with self.lock:
            total = len(self.alerts)
            return self.alerts.entries(total - amount, total)

    # --- the truth -------------------------------------------------------------------------------------------------

    def truth(self, api: str, detail: bool, unknown_members: bool) -> Iterator[tuple[str, str, bytes]]:
        """Everything that the API can return: (id, update time, bytes), oldest first."""
        timeline = self.incidents if api == "graph_incidents" else self.alerts
        for first in range(0, len(timeline), 1000):
            with self.lock:
                entries = timeline.entries(first, first + 1000)
            for entry in entries:
                yield from self._truth(api, entry, detail, unknown_members)

    def _truth(self, api: str, entry: Key, detail: bool, unknown_members: bool) -> list[tuple[str, str, bytes]]:
        text = time_text(entry[0])
        if api == "graph_incidents":
            return [(str(self.incident_id(entry[1])), text, self.incident_bytes(entry, detail, unknown_members))]
        if api == "alert_exporter":
            return [(full_id, text, body) for full_id, body in self.exporter_rows(entry)]
        wanted = detail if api == "mde_alerts" else unknown_members
        return [(self.alert_id(entry[1]), text, self.alert_bytes(api, entry, wanted))]


_SHAPES: dict[str, Callable[..., Any]] = {
    "graph_alerts": shapes_graph.alert,
    "mde_alerts": shapes_mde.alert,
    "alert_exporter": shapes_exporter.row,
}


def _first_event(created: int, bits: int) -> int:
    return created - bits % (40 * SECOND)


def _word(value: str | None) -> bytes:
    return b"null" if value is None else b'"%b"' % value.encode()


def _Word(value: str | None) -> bytes:
    """The same with a capital letter, as the older API writes it."""
    return b"null" if value is None else b'"%b"' % (value[0].upper() + value[1:]).encode()
