# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`wdatp report`: the events of the last 15 minutes, or of any window."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from typing import Any

from ..console import INFO, Console
from ..credentials import CredentialStore
from ..jobs import JobStore
from ..options import REPORT
from ..pull import Context
from ..report import report
from ..reporttable import NARROWEST
from .choice import chosen_job

_TYPED = ("config_dir", "state_dir", "since", "until", "source", "severity", "status", "organization", "limit")


def show_report(options: Mapping[str, Any], console: Console) -> int:
    """0. WdatpError where the events can't be had."""
    wanted = {option.name: option.default for option in REPORT}
    wanted.update((name, options[name]) for name in _TYPED)
    if options["job"]:
        wanted["job"] = JobStore(options["config_dir"]).load(options["job"]).name
    if options["source"] == "api":
        job = chosen_job(options)
        wanted["credentials"] = job["credentials"] or CredentialStore(options["config_dir"]).names()
    if options["html"]:
        wanted.update(format="html", dest=os.path.abspath(options["html"]))
    if sys.stdout.isatty():
        wanted["columns"] = max(NARROWEST, shutil.get_terminal_size().columns)
    result = report(wanted, Context(console.redactor, console.warn))
    if options["html"]:
        console.say(INFO, f"{result['total']} events are in {result['dest']}.")
    console.result(result, "" if options["html"] else result["text"])
    return 0
