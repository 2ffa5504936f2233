# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which job a command is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..jobs import Job, JobStore
from ..options import JOB_NAME


def chosen_job(options: Mapping[str, Any]) -> Job:
    """The job that is named; else the one called default; else the only one there is. JobError."""
    store = JobStore(options["config_dir"])
    names = store.names()
    return store.load(options["job"] or (names[0] if len(names) == 1 else JOB_NAME))


def as_options(job: Job, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a job's definition, and where this host keeps things."""
    return {**job.options(), "job": job.name, **{name: options[name] for name in ("config_dir", "state_dir")}}
