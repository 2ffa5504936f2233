# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine as a process of its own: a new state directory, a durable store, one file. Argument: a job (JSON)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "plugins" / "module_utils"))

from _wdatp.pull import Context, pull


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    options = {
        "tenant_id": job["tenant_id"],
        "client_id": job["client_id"],
        "client_secret": job["client_secret"],
        "api_url": job["url"],
        "authority_url": job["url"],
        "ca_path": job["ca_path"],
        "state_dir": job["output"] + "/state",
        "destinations": [{"path": job["output"] + "/alerts.jsonl"}],
        "since": job["since"],
    }
    report = pull(options, Context())
    failure = report.failure()
    if failure is not None:
        sys.exit(str(failure))


if __name__ == "__main__":
    main()
