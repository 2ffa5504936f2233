# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`wdatp test`: the staged connectivity test, for each tenant and API of a job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..connectivity import Report, test
from ..console import Console, table
from ..credentials import CredentialStore
from ..crew import in_parallel
from ..errors import WdatpError
from ..jobs import job_of
from ..plan import Planned, plan_of_job
from ..runtime import Runtime, runtime_of
from .choice import as_options, chosen_job


class _Tested(NamedTuple):
    """A stream, and what came of its test; None where there is no connection to test."""

    stream: Planned
    report: Report | None

    @property
    def error(self) -> WdatpError | None:
        return self.report.error if self.report else self.stream.error

    @property
    def name(self) -> str:
        return self.stream.organization or self.stream.tenant_id or f"credential {self.stream.credential}"

    def to_dict(self) -> dict[str, Any]:
        """As wdatp_test_connectivity returns it, and whose it is."""
        known = (self.report or Report("", self.stream.api, self.stream.organization, error=self.error)).to_dict()
        whose = {"tenant_id": self.stream.tenant_id, "credential": self.stream.credential}
        return {**known, **whose, "error": self.error.to_dict() if self.error else None}


def test_job(options: Mapping[str, Any], console: Console) -> int:
    """0, or 1 where a test failed. WdatpError where there is nothing to test."""
    settings = _settings(options)
    streams = plan_of_job({**settings, "organizations": options["organization"] or settings["organizations"]})
    runtime = runtime_of(settings, console.warn, insists=True)
    found: dict[int, _Tested] = {}

    def work(number: int) -> None:
        found[number] = _tested(streams[number], console, runtime)
        console.passing(f"[{len(found)}/{len(streams)}] last: {found[number].name}")

    in_parallel(range(len(streams)), work, settings["max_parallel"] if len(streams) > 1 else 1)
    tested = [found[number] for number in range(len(streams))]
    for warning in dict.fromkeys(item.report.warning for item in tested if item.report and item.report.warning):
        console.warn(warning)
    is_good = not any(item.error for item in tested)
    result = {"job": settings["job"], "reachable": is_good, "tests": [item.to_dict() for item in tested]}
    console.result(result, console.redactor.text(_in_full(tested[0]) if len(tested) == 1 else _listed(tested)))
    return 0 if is_good else 1


def _settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the job, or of one that would pull for a credential."""
    name = options["credential"]
    if not name:
        return as_options(chosen_job(options), options)
    CredentialStore(options["config_dir"]).load(name)
    return {**as_options(job_of(name, {"credentials": [name]}), options), "job": None}


def _tested(stream: Planned, console: Console, runtime: Runtime) -> _Tested:
    if stream.error is not None:
        return _Tested(stream, None)
    return _Tested(stream, test(stream.connected(), console.redactor, console.warn, runtime))


# --- for people -------------------------------------------------------------------------------------------------------


def _in_full(item: _Tested) -> str:
    """All stages of one test."""
    if item.report is None:
        return _failure(item)
    head = f"{item.name}: {item.report.api} at {item.report.host}"
    rows = [["ok" if it.ok else "FAILED", it.name, f"{it.ms} ms", it.detail] for it in item.report.stages]
    remedy = [f"  {item.error.remedy}"] if item.error else []
    return "\n".join([head, table(rows, "  "), *remedy])


def _listed(tested: Sequence[_Tested]) -> str:
    """A line for each test, and what to change where one failed."""
    rows = [["TENANT", "API", "HOST", "RESULT", "TIME"], *map(_row, tested)]
    failed = [item for item in tested if item.error]
    summary = f"{len(tested) - len(failed)} of {len(tested)} passed."
    return "\n".join([table(rows), "", summary, *map(_failure, failed)])


def _row(item: _Tested) -> list[str]:
    if item.report is None:
        return [item.name, item.stream.api or "-", "-", "no connection", "-"]
    stages = item.report.stages
    result = f"FAILED: {stages[-1].name}" if item.error else "ok"
    return [item.name, item.report.api, item.report.host, result, f"{sum(stage.ms for stage in stages)} ms"]


def _failure(item: _Tested) -> str:
    error = item.error or WdatpError("")
    return f"\n{item.name} ({item.stream.api or 'no API'}): {error.message}\n  {error.remedy}"
