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
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from playbook import Playbook, Task
from workbench import Mock, ToolError, fresh_directory, load_line, mock_tenant, say, venv

_AIM_SECONDS = 0.35


def _measure(alerts: int, repeat: int) -> dict[str, Any]:
    with mock_tenant(venv("engine"), alerts, 0) as mock:
        with fresh_directory("startup") as directory:
            found = _tasks(Playbook(directory, mock), mock, repeat)
        with fresh_directory("startup-cpu") as directory:
            # Noting the processes' costs takes time, so it is a play of its own.
            noted = Playbook(directory, mock, measure=True)
            _tasks(noted, mock, repeat)
            cpu = {name: noted.module_costs(name)[1:] for name in ("ping", "wdatp_pull_events")}
    pulls = found["Pull"]
    return {
        "ping_seconds": _median(task.seconds for task in found["Ping"]),
        "pull_seconds": _median(task.seconds for task in pulls),
        "inside_seconds": _median(task.result["duration_seconds"] for task in pulls),
        "ping_cpu_seconds": _median(cost.cpu_seconds for cost in cpu["ping"]),
        "pull_cpu_seconds": _median(cost.cpu_seconds for cost in cpu["wdatp_pull_events"]),
        "duplicates": pulls[-1].result["duplicates"],
        "requests": pulls[-1].result["requests"],
    }


def _tasks(playbook: Playbook, mock: Mock, repeat: int) -> dict[str, list[Task]]:
    """Pings and pulls in turn, without the first of each: Ansible builds its module anew."""
    ping = {"name": "Ping", "ansible.builtin.ping": {}}
    first = [{**ping, "name": "First ping"}, playbook.pull_task("First pull", since=mock.since)]
    found = playbook.run(first + [ping, playbook.pull_task("Pull")] * repeat)
    if any(task.result["changed"] for task in found if task.name == "Pull"):
        raise ToolError("A pull found something new.")
    return {name: [task for task in found if task.name == name] for name in ("Ping", "Pull")}


def _median(figures: Iterable[float]) -> float:
    return round(statistics.median(figures), 3)


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
    cpu = row["pull_cpu_seconds"] - row["ping_cpu_seconds"]
    missed = "" if difference <= _AIM_SECONDS else ", missed"
    say(f"{'':36} {'wall s':>7} {'CPU s':>7}")
    say(f"{'ansible.builtin.ping':36} {row['ping_seconds']:7.3f} {row['ping_cpu_seconds']:7.3f}")
    say(f"{'wdatp_pull_events that finds nothing':36} {row['pull_seconds']:7.3f} {row['pull_cpu_seconds']:7.3f}")
    say(f"{'difference':36} {difference:7.3f} {cpu:7.3f}   aim: {_AIM_SECONDS} s of wall time{missed}")
    say(f"Inside the pull itself {row['inside_seconds']:.3f} s: {row['requests']} requests, {row['duplicates']} alerts")
    say("read again (overlap). Wall time is the whole task's, CPU time that of the module's own process.")
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
