# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What wdatp_pull_job does: from options to a stored job, checked before it is written, predicted in check mode."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .destinations.registry import destinations_of
from .errors import JobError, OptionError, WdatpError
from .jobs import Job, JobStore, check_job_name, job_of
from .plan import plan_of_job
from .pulloptions import pull_options, wanted_of
from .sources.registry import source_of
from .times import SECOND, parse_duration

_SHORTEST_INTERVAL = 10 * SECOND


@dataclass(frozen=True)
class Outcome:
    """`before` and `after`: the definition as text, empty where there is none."""

    changed: bool
    path: str
    job: dict[str, Any] | None
    before: str
    after: str


def define_job(options: Mapping[str, Any], check: bool = False) -> Outcome:
    """Stores or removes the definition that the options of wdatp_pull_job mean. WdatpError with what to change.

    `check`: say what would change, and change nothing. The job's state stays where it is in any case.
    """
    store = JobStore(options["config_dir"])
    name = check_job_name(options["name"])
    if options["state"] == "absent":
        return _remove(store, name, check)
    job = job_of(name, options)
    check_job(job, options["config_dir"], options["state_dir"])
    # A definition that is broken is no reason not to replace it.
    before = _known(store, name)
    changed = job != before
    if changed and not check:
        store.save(job)
    return Outcome(changed, store.path(name), job.describe(), _text(before), _text(job))


def _remove(store: JobStore, name: str, check: bool) -> Outcome:
    before = _known(store, name)
    changed = store.has_traces(name)
    if changed and not check:
        store.remove(name)
    return Outcome(changed, store.path(name), None, _text(before), "")


def _known(store: JobStore, name: str) -> Job | None:
    try:
        return store.get(name)
    except JobError as error:
        if error.code == "job.broken":
            return None
        raise


def _text(job: Job | None) -> str:
    return "" if job is None else json.dumps(dict(sorted(job.settings.items())), indent=2, ensure_ascii=False) + "\n"


# --- is it possible? --------------------------------------------------------------------------------------------------


def check_job(job: Job, config_dir: str, state_dir: str) -> None:
    """WdatpError where this job could not run as it is defined. Asks nobody, touches nothing."""
    options = {**job.options(), "job": job.name, "config_dir": config_dir, "state_dir": state_dir}
    if parse_duration(job["interval"], "interval") < _SHORTEST_INTERVAL:
        raise OptionError(f"interval: {job['interval']} is too short.", "Give at least 10s; 5m is usual.")
    pull_options(options)
    _check_spread(job["collectors"] or [], job["collector"])
    _check_paths(job, config_dir, state_dir)
    for item in plan_of_job(options):
        # Of all that are stored, one that is broken is somebody else's business; its stream will say so.
        if item.error is not None and job["credentials"]:
            raise item.error
        if item.error is None:
            source_of(item.api, job["expand"], wanted_of(options))


def _check_spread(collectors: Sequence[str], collector: str | None) -> None:
    if bool(collectors) != bool(collector):
        raise OptionError(
            "collectors and collector belong together.",
            "Give the names of all collectors, and which of them this host is; or neither.",
            code="option.conflict",
        )
    if collector and collector not in collectors:
        raise OptionError(
            f"collector: {collector} is none of the collectors {', '.join(collectors)}.", "Add it to collectors."
        )


def _check_paths(job: Job, config_dir: str, state_dir: str) -> None:
    named = [("destinations", item.get("path")) for item in job["destinations"] or []]
    for option, path in [*named, ("metrics_path", job["metrics_path"])]:
        if path and not os.path.isabs(path):
            raise OptionError(
                f"{option}: {path} is a relative path.", "Write the whole path: a job runs in no particular directory."
            )
    own = {item.target for item in destinations_of(job["destinations"], state_dir)}
    for name in JobStore(config_dir).names():
        if name != job.name:
            _check_apart(own, name, config_dir, state_dir)


def _check_apart(own: set[str], other: str, config_dir: str, state_dir: str) -> None:
    try:
        known = JobStore(config_dir).load(other)
        theirs = {item.target for item in destinations_of(known["destinations"], state_dir)}
    except WdatpError:
        # It can't run as it is, and whoever mends it gets this very check.
        return
    shared = sorted(own & theirs)
    if shared:
        raise JobError(
            f"The job {other} writes to {', '.join(shared)} already.",
            "Give each job destinations of its own: two jobs would each write all that they get.",
            code="job.destination",
        )
