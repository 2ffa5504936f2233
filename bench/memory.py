# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Peak memory of a wdatp_pull_events task, for a few and for many alerts: `python3 bench/memory.py`.

A real ansible-playbook runs the task; what is measured is the module's own process. See docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from playbook import Playbook
from workbench import ToolError, fresh_directory, load_line, mock_tenant, say, venv

_AIM_MEGABYTES = 96


def _measure(alerts: int, size: int) -> dict[str, Any]:
    with mock_tenant(venv("engine"), alerts, size) as mock, fresh_directory("memory") as directory:
        playbook = Playbook(directory, mock, measure=True)
        [task] = playbook.run([playbook.pull_task("Pull", since=mock.since)])
        [cost] = playbook.module_costs("wdatp_pull_events")
        written = (directory / "state" / "events.jsonl").stat().st_size
    result = task.result
    if (result["written"], result["complete"]) != (alerts, True):
        raise ToolError(f"{result['written']} of {alerts} alerts were written, complete: {result['complete']}.")
    return {
        "alerts": alerts,
        "megabytes_written": round(written / 1e6),
        "bytes_each": round(written / alerts),
        "peak_megabytes": round(cost.peak_megabytes, 1),
        "wall_seconds": round(cost.wall_seconds, 1),
        "cpu_seconds": round(cost.cpu_seconds, 1),
    }


def _judge(rows: list[dict[str, Any]]) -> None:
    peaks = [row["peak_megabytes"] for row in rows]
    say(f"aim: under {_AIM_MEGABYTES} MB{'' if max(peaks) < _AIM_MEGABYTES else ', missed'}, and the same for all:")
    first, last = rows[0], rows[-1]
    if last["alerts"] > first["alerts"]:
        growth = peaks[-1] - peaks[0]
        each = growth * 2**20 / (last["alerts"] - first["alerts"])
        say(f"  {growth:+.1f} MB from the first run to the last, {each:+.0f} bytes for each further alert")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--alerts", type=int, nargs="+", help="how many alerts (default: 50000 200000)")
    parser.add_argument("--full", action="store_true", help="50000 and 1000000 alerts, which takes some minutes")
    parser.add_argument("--size", type=int, default=2500, help="about how large each is, in bytes (default: 2500)")
    parser.add_argument("--json", metavar="FILE", help="write the figures to a file as well")
    return parser.parse_args()


def main() -> int:
    options = _options()
    counts = options.alerts or ([50_000, 1_000_000] if options.full else [50_000, 200_000])
    venv("engine")
    venv("ansible")
    say(f"Alerts of about {options.size} bytes; {load_line()}")
    say(f"{'alerts':>9} {'MB written':>11} {'bytes each':>11} {'wall s':>8} {'CPU s':>8} {'peak MB':>8}")
    rows = []
    for alerts in counts:
        row = _measure(alerts, options.size)
        rows.append(row)
        say(
            f"{alerts:9,} {row['megabytes_written']:11,} {row['bytes_each']:11,} {row['wall_seconds']:8.1f}"
            f" {row['cpu_seconds']:8.1f} {row['peak_megabytes']:8.1f}"
        )
    _judge(rows)
    say(load_line())
    if options.json:
        Path(options.json).write_text(json.dumps({"size": options.size, "rows": rows}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ToolError as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
