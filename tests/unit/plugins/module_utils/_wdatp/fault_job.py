# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of faults share: a job that pulls again and again, and what its file must hold then."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from ansible_collections.secops.defender.plugins.module_utils._wdatp.clouds import APIS
from ansible_collections.secops.defender.plugins.module_utils._wdatp.errors import WdatpError
from ansible_collections.secops.defender.plugins.module_utils._wdatp.formats import one_line
from ansible_collections.secops.defender.plugins.module_utils._wdatp.pull import Context, PullReport, pull
from ansible_collections.secops.defender.plugins.module_utils._wdatp.redact import Redactor
from ansible_collections.secops.defender.plugins.module_utils._wdatp.runtime import Runtime, runtime_of
from ansible_collections.secops.defender.plugins.module_utils._wdatp.transport import Transport
from mock_api import MockTenant, TenantConfig
from mock_api.config import START_KNOBS

ODATA = ("graph_alerts", "graph_incidents", "mde_alerts")
ALL = APIS
# Younger than the first pull's day, so that time that passes during a test takes none away.
DATA: dict[str, Any] = {"alerts": 40, "span": "20h", "recent_share": 0.0, "incident_size": 2}
# More requests than this, and a pull does not come to its end.
ENDLESS = 600


def reset(tenant: MockTenant, **knobs: Any) -> None:
    """All knobs as at the start, apart from these; what was added or changed is forgotten."""
    fresh = TenantConfig(**{**DATA, **knobs})
    names = {item.name for item in fields(fresh)} - set(START_KNOBS)
    tenant.configure(**{name: getattr(fresh, name) for name in names})
    tenant.clear_requests()


class Job:
    """Pulls with the same options, as one run after the other would."""

    def __init__(self, tenant: MockTenant, directory: Path, use: Callable[[Job], None], **options: Any) -> None:
        """`use`: makes the engine use this job's transport and runtime."""
        self._use = use
        self.asked = 0
        self.tenant = tenant
        self.state = directory / "state"
        self.path = self.state / "events.jsonl"
        self.said: list[str] = []
        self.slept: list[float] = []
        # Seconds that have gone by between the runs, as far as they agree on anything.
        self.later = 0.0
        self.before: Callable[[int], None] = lambda number: None
        self.options: dict[str, Any] = {
            **tenant.options,
            "state_dir": str(self.state),
            "config_dir": str(directory / "etc"),
            "timeout": 10,
            "retries": 2,
            **options,
        }

    @property
    def api(self) -> str:
        return str(self.options.get("api", APIS[0]))

    def transport(self, *args: Any, **named: Any) -> Transport:
        """One that notes for how long it should have slept, and calls a hook before each request to an API."""
        made = Transport(*args, **{**named, "sleep": self._sleep})
        request = made.request

        def asked(method: str, url: str, *rest: Any, **more: Any) -> Any:
            if more.get("bearer"):
                self.asked += 1
                assert self.asked < ENDLESS, "the walk does not end"
                self.before(self.asked)
            return request(method, url, *rest, **more)

        made.request = asked  # type: ignore[method-assign]
        return made

    def runtime(self, *args: Any) -> Runtime:
        """What runs of one host agree on, at the time of this job."""
        found = runtime_of(*args)
        clock = found.clock
        found.clock = lambda: clock() + self.later
        return found

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.later += seconds

    def report(self, **options: Any) -> PullReport:
        self.asked = 0
        self._use(self)
        given = {**self.options, **options}
        return pull({name: value for name, value in given.items() if value is not None}, self.context)

    @property
    def context(self) -> Context:
        return Context(Redactor(), self.said.append)

    def run(self, **options: Any) -> dict[str, Any]:
        """The result of one more run, which must be a good one."""
        report = self.report(**options)
        assert report.failure() is None
        result = report.to_dict()
        assert result["fetched"] == result["new"] + result["updated"] + result["duplicates"]
        return result

    def fail(self, **options: Any) -> tuple[dict[str, Any], WdatpError]:
        """The result of one more run, which must end in an error, and that error."""
        report = self.report(**options)
        error = report.failure()
        assert error is not None
        assert error.remedy
        return report.to_dict(), error

    @property
    def lines(self) -> list[bytes]:
        if not self.path.exists():
            return []
        text = self.path.read_bytes()
        assert text.endswith(b"\n") or not text
        return text.splitlines()

    def truth(self, **options: Any) -> list[bytes]:
        return [one_line(raw) for _id, _time, raw in self.tenant.alerts(self.api, **options)]

    def check(self, *earlier: bytes) -> None:
        """The file holds the truth, and these earlier versions: each once, byte for byte."""
        assert Counter(self.lines) == Counter({*self.truth(), *earlier})

    def newest_time(self) -> str:
        return list(self.tenant.alerts(self.api))[-1][1]

    def api_requests(self) -> list[dict[str, Any]]:
        return [entry for entry in self.tenant.requests if entry["leg"] == self.api]


def values(line: bytes) -> dict[str, Any]:
    found = json.loads(line)
    assert isinstance(found, dict)
    return found
