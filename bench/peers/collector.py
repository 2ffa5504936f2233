# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A collector's run as its timer starts it. Arguments: `define` or `pull`, and a file with what is wanted (JSON)."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "plugins" / "module_utils"))

from _wdatp.definitions import define
from _wdatp.jobdefinitions import define_job
from _wdatp.options import CREDENTIAL, JOB
from _wdatp.outcome import StreamReport
from _wdatp.pull import Context, pull


def _define(wanted: dict[str, Any]) -> None:
    for credential in wanted["credentials"]:
        define({**{option.name: option.default for option in CREDENTIAL}, **credential})
    define_job({**{option.name: option.default for option in JOB}, **wanted["job"]})


def _pull(wanted: dict[str, Any]) -> None:
    started = time.monotonic()
    ended = []

    def note(stream: StreamReport, _ended: int, _streams: int) -> None:
        code = stream.error.code if stream.error else None
        ended.append({"tenant_id": stream.tenant_id, "seconds": time.monotonic() - started, "error": code})

    report = pull(wanted["options"], Context(progress=note, insists=False)).to_dict()
    figures = {name: report[name] for name in ("new", "duplicates", "written", "requests", "pending", "complete")}
    Path(wanted["result"]).write_text(json.dumps({**figures, "streams": ended}))


if __name__ == "__main__":
    {"define": _define, "pull": _pull}[sys.argv[1]](json.loads(Path(sys.argv[2]).read_text()))
