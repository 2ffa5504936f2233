# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task costs that finds nothing new, beside Ansible's own ping: `python3 bench/startup.py`.

Both run in turn in one play; the figures are medians of the tasks' wall times. See docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from playbook import Playbook
from workbench import ToolError, fresh_directory, load_line, mock_tenant, say, venv

_AIM_SECONDS = 0.35


def _measure(alerts: int, repeat: int) -> dict[str, Any]:
    with mock_tenant(venv("engine"), alerts, 0) as mock, fresh_directory("startup") as directory:
        playbook = Playbook(directory, mock)
        ping = {"name": "Ping", "ansible.builtin.ping": {}}
        first = [ping, playbook.pull_task("First pull", since=mock.since)]
        found = playbook.run(first + [ping, playbook.pull_task("Pull")] * repeat)
    pulls = [task for task in found if task.name == "Pull"]
    if any(task.result["changed"] for task in pulls):
        raise ToolError("A pull found something new.")
    # The first of each is slower: Ansible builds its module anew.
    pings = [task.seconds for task in found if task.name == "Ping"][1:]
    return {
        "ping_seconds": round(statistics.median(pings), 3),
        "pull_seconds": round(statistics.median(task.seconds for task in pulls), 3),
        "inside_seconds": round(statistics.median(task.result["duration_seconds"] for task in pulls), 3),
        "duplicates": pulls[-1].result["duplicates"],
        "requests": pulls[-1].result["requests"],
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--alerts", type=int, default=1000, help="alerts of the last 24 hours (default: 1000)")
    parser.add_argument("--repeat", type=int, default=10, help="how often (default: 10)")
    parser.add_argument("--json", metavar="FILE", help="write the figures to a file as well")
    return parser.parse_args()


def main() -> int:
    options = _options()
    venv("engine")
    venv("ansible")
    say(load_line())
    row = _measure(options.alerts, options.repeat)
    difference = row["pull_seconds"] - row["ping_seconds"]
    say(f"ansible.builtin.ping                   {row['ping_seconds']:6.3f} s")
    say(f"wdatp_pull_events that finds nothing   {row['pull_seconds']:6.3f} s")
    say(f"  inside the pull itself               {row['inside_seconds']:6.3f} s")
    say(f"    {row['requests']} requests, {row['duplicates']} alerts read again (overlap)")
    missed = "" if difference <= _AIM_SECONDS else ", missed"
    say(f"difference                             {difference:6.3f} s   aim: {_AIM_SECONDS} s{missed}")
    say(f"Medians of {options.repeat} tasks each, in turn; {load_line()}")
    if options.json:
        Path(options.json).write_text(json.dumps({**row, "difference_seconds": round(difference, 3)}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ToolError as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
