# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An event of our own after each run, for a SIEM that watches for silence: while it comes, the job is alive.

It goes through the outbox like any alert, in the same order, once. It counts as none: not as written, not in the
manifest, not when files are compared with the API.
"""

from __future__ import annotations

import json
import socket

from .formats import HEARTBEAT, Outgoing
from .outcome import PullReport
from .store import Store
from .times import format_time, now_ticks


def beat(store: Store, batch_job: int, name: str, report: PullReport) -> Outgoing:
    """The heartbeat of a run of the job `name`, put into the outbox. Inside a transaction."""
    now = format_time(now_ticks())
    event = {"job": name, "host": socket.gethostname(), "time": now, **report.figures()}
    line = json.dumps({"wdatp": {HEARTBEAT: event}}, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
    return store.put_batch(batch_job, now, {"api": HEARTBEAT}, [f"{HEARTBEAT} {now}"], line, None)
