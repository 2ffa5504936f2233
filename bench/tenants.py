# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One collector for a thousand tenants, and what ten broken ones cost the others: `python3 bench/tenants.py`.

A job pulls all tenants: for the first time, when nothing is new, and when each has something new; first with all of
them well, then with ten that are broken in ten ways. Beside it, curl sends the same requests, as many at a time. See
docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from workbench import (
    BENCH,
    ROOT,
    Cost,
    Mock,
    ToolError,
    clean_env,
    fresh_directory,
    load_line,
    measured,
    mock_tenant,
    say,
    venv,
)

sys.path.insert(0, str(ROOT / "tests"))

from mock_api.broken import broken, ten_broken

_SCOPE = "https://graph.microsoft.com/.default"
_PREFER = "Prefer: include-unknown-enum-members"
NAMES = ("first", "nothing new", "one new each")


@dataclass(frozen=True)
class Run:
    """`healthy_seconds`: until the last of the tenants that are well was done."""

    name: str
    cost: Cost
    mock_cpu_seconds: float
    requests: int
    new: int
    written: int
    healthy_seconds: float
    errors: dict[str, str]


class Collector:
    """A collector with its job, in a directory of its own."""

    def __init__(self, directory: Path, mock: Mock, options: argparse.Namespace) -> None:
        self.directory = directory
        self.mock = mock
        self._where = {"config_dir": str(directory / "config"), "state_dir": str(directory / "state")}
        self._command("define", {"credentials": self._credentials(options.separate), "job": self._job(options)})

    def _credentials(self, separate: bool) -> list[dict[str, Any]]:
        mock = self.mock
        common = {
            "config_dir": self._where["config_dir"],
            "client_id": mock.client_id,
            "client_secret": mock.client_secret,
            "secret_storage": "file",
            "authority_url": mock.url,
            "api_url": mock.url,
            "ca_path": mock.ca_path,
        }
        tenants = [{"tenant_id": item["tenant_id"], "organization": item["domain"]} for item in mock.tenants]
        if separate:
            return [{**common, **tenant, "name": tenant["organization"]} for tenant in tenants]
        return [{**common, "name": "all", "tenants": tenants}]

    def _job(self, options: argparse.Namespace) -> dict[str, Any]:
        runtime = {"runtime_dir": str(self.directory / "run"), "token_cache": options.token_cache}
        return {**self._where, **runtime, "name": "all", "max_parallel": options.parallel}

    def _command(self, name: str, wanted: dict[str, Any]) -> Cost:
        path = self.directory / f"{name}.json"
        path.write_text(json.dumps(wanted))
        command = [venv("engine"), BENCH / "peers" / "collector.py", name, path]
        return measured(command, clean_env(WDATP_RUNTIME_DIR=self.directory / "run"), self.directory)

    def pull(self, name: str, broken_ones: dict[str, str], since: str | None = None) -> Run:
        result = self.directory / "result.json"
        options = {**self._where, "job": "all", "since": since}
        self.mock.control("DELETE", "requests")
        before = self.mock.cpu_seconds()
        cost = self._command("pull", {"options": options, "result": str(result)})
        found = json.loads(result.read_text())
        streams = found["streams"]
        return Run(
            name=name,
            cost=cost,
            mock_cpu_seconds=self.mock.cpu_seconds() - before,
            requests=found["requests"],
            new=found["new"],
            written=found["written"],
            healthy_seconds=max(item["seconds"] for item in streams if item["tenant_id"] not in broken_ones),
            errors={broken_ones.get(item["tenant_id"], "well"): item["error"] for item in streams if item["error"]},
        )

    def delivered(self) -> int:
        """Lines in the file. ToolError where one came twice."""
        with (self.directory / "state" / "events.jsonl").open("rb") as stream:
            lines = [hash(line) for line in stream]
        if len(set(lines)) < len(lines):
            raise ToolError(f"{len(lines) - len(set(lines))} lines were written twice.")
        return len(lines)


# --- curl -------------------------------------------------------------------------------------------------------------


class Curl:
    """The same requests by curl, as many at a time, each answer into a file: about the least that they can cost."""

    def __init__(self, directory: Path, mock: Mock, parallel: int) -> None:
        self.directory = directory
        self.mock = mock
        self.parallel = parallel

    def repeat(self, log: Sequence[dict[str, Any]]) -> Cost:
        """First the requests for tokens of a run, then those for alerts."""
        mock = self.mock
        form = {"grant_type": "client_credentials", "scope": _SCOPE}
        data = f'data = "{urlencode({**form, "client_id": mock.client_id, "client_secret": mock.client_secret})}"'
        asked = [entry for entry in log if entry["leg"] == "token"]
        costs = [self._fetch([(entry["path"], data) for entry in asked])] if asked else []
        for number, entry in enumerate(asked):
            token = json.loads((self.directory / str(number)).read_text())["access_token"]
            (self.directory / entry["tenant_id"]).write_text(f'header = "Authorization: Bearer {token}"')
        questions = [entry for entry in log if entry["leg"] == "graph_alerts"]
        bearers = [(self.directory / entry["tenant_id"]).read_text() for entry in questions]
        addresses = [f"{entry['path']}?{entry['raw_query']}" for entry in questions]
        costs.append(self._fetch(list(zip(addresses, bearers))))
        return Cost(
            sum(cost.wall_seconds for cost in costs),
            sum(cost.cpu_seconds for cost in costs),
            max(cost.peak_megabytes for cost in costs),
        )

    def _fetch(self, requests: Sequence[tuple[str, str]]) -> Cost:
        common = f'silent\nshow-error\nfail\ncompressed\ncacert = "{self.mock.ca_path}"\nheader = "{_PREFER}"\n'
        parts = [
            f'{common}{more}\nurl = "{self.mock.url}{address}"\noutput = "{self.directory / str(number)}"\n'
            for number, (address, more) in enumerate(requests)
        ]
        path = self.directory / "requests.txt"
        path.write_text("next\n".join(parts))
        command = ["curl", "--parallel", "--parallel-max", str(self.parallel), "--config", path]
        return measured(command, clean_env(), self.directory)


# --- the runs ---------------------------------------------------------------------------------------------------------


def _runs(collector: Collector, ways: dict[str, str], curl: Curl | None = None) -> list[tuple[Run, Cost | None]]:
    """For the first time, with nothing new, with something new in each tenant; and what curl pays for the same."""
    mock, found = collector.mock, []
    for name in NAMES:
        if name == NAMES[-1]:
            for item in mock.tenants:
                mock.control("POST", "alerts", {"add": 1, "tenant": item["tenant_id"]})
        run = collector.pull(name, ways, mock.since if name == NAMES[0] else None)
        cost = curl.repeat(mock.control("GET", "requests")) if curl is not None else None
        _show(run, cost)
        found.append((run, cost))
    return found


def _show(run: Run, curl: Cost | None) -> None:
    cost = run.cost
    line = (
        f"  {run.name:13} {cost.wall_seconds:7.1f} {run.healthy_seconds:8.1f} {cost.cpu_seconds:7.2f}"
        f" {run.mock_cpu_seconds:7.2f} {cost.peak_megabytes:7.0f} {run.requests:9} {run.written:8}"
    )
    if curl is not None:
        line += f" {curl.wall_seconds:8.2f} {curl.cpu_seconds:7.2f} {cost.wall_seconds / curl.wall_seconds:7.1f}"
    say(line)


def _measure(mock: Mock, options: argparse.Namespace) -> dict[str, Any]:
    with fresh_directory("warm") as directory:
        # Not counted: the mock makes its pages, which it then keeps, and Python compiles its files.
        warm = Collector(directory, mock, options)
        for since in (mock.since, None):
            warm.pull("warm", {}, since)
    say(
        f"  {'run':13} {'wall s':>7} {'others s':>8} {'CPU s':>7} {'mock s':>7} {'peak MB':>7} {'requests':>9}"
        f" {'written':>8} {'curl s':>8} {'CPU s':>7} {'ratio':>7}"
    )
    with fresh_directory("well") as directory, fresh_directory("curl") as answers:
        collector = Collector(directory, mock, options)
        curl = Curl(answers, mock, options.parallel) if shutil.which("curl") else None
        well = _runs(collector, {}, curl)
        _check(collector, len(mock.tenants) * (options.alerts + 1))
    if options.well_only:
        return {"well": well}
    say("  with ten broken ones:")
    ways = ten_broken([item["tenant_id"] for item in mock.tenants])
    with fresh_directory("broken") as directory:
        collector = Collector(directory, mock, options)
        mock.control("PUT", "faults", broken(ways))
        ill = _runs(collector, ways)
        _check(collector, (len(mock.tenants) - len(ways)) * (options.alerts + 2))
    say("\nWhat they were reported with: " + ", ".join(f"{way} {code}" for way, code in ill[0][0].errors.items()))
    say("What the broken ones cost the others (time until the last of those was done, with / without):")
    for (one, _none), (other, _curl) in zip(ill, well):
        say(f"  {one.name:13} {one.healthy_seconds / other.healthy_seconds:5.2f}")
    return {"well": well, "broken": ill}


def _check(collector: Collector, expected: int) -> None:
    delivered = collector.delivered()
    if delivered != expected:
        raise ToolError(f"{delivered} of {expected} alerts were written.")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--tenants", type=int, default=1000, help="how many (default: 1000)")
    parser.add_argument("--alerts", type=int, default=20, help="alerts of each (default: 20)")
    parser.add_argument("--parallel", type=int, default=8, help="tenants at a time (default: 8)")
    parser.add_argument("--separate", action="store_true", help="a credential for each tenant, not one for all")
    parser.add_argument("--token-cache", action="store_true", help="keep tokens from run to run")
    parser.add_argument("--well-only", action="store_true", help="without the broken ones, which take minutes")
    parser.add_argument("--json", metavar="FILE", help="write the figures to a file as well")
    return parser.parse_args()


def main() -> int:
    options = _options()
    venv("engine")
    say(f"{options.tenants} tenants with {options.alerts} alerts each, {options.parallel} at a time; {load_line()}")
    with mock_tenant(venv("engine"), options.alerts, 0, options.tenants) as mock:
        found = _measure(mock, options)
    say(load_line())
    if options.json:
        rows = {
            name: [{**asdict(run), "curl": asdict(curl) if curl else None} for run, curl in runs]
            for name, runs in found.items()
        }
        Path(options.json).write_text(json.dumps({**vars(options), "runs": rows}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ToolError as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
