# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same alerts with us and with others, side by side: `python3 bench/compare.py`. See docs/benchmarks.md.

Each client is a process of its own, from its start to its last byte on the disk, token included. The rounds are
interleaved, and the figures are medians of the rounds. Before them, each client runs once without being counted: the
mock tenant keeps the pages that it has made, so that the clients are measured and not the mock.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from workbench import (
    BENCH,
    LOCAL,
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

_PEERS = BENCH / "peers"
_PATH = "/v1.0/security/alerts_v2"
# What is aimed at: (title, figure, of whom, at least or at most, aim)
_AIMS = (
    ("alerts/s of dlt", "rate", "dlt", "at least", 3.0),
    ("CPU time of dlt", "cpu", "dlt", "at most", 1 / 3),
    ("alerts/s of the loop", "rate", "loop", "at least", 1.0),
    ("alerts/s of curl", "rate", "curl", "at least", 0.5),
)

Rows = Iterator[bytes]


@dataclass(frozen=True)
class Client:
    name: str
    title: str
    # job file, directory for results -> command
    command: Callable[[dict[str, Any], Path], list[str | Path]]
    # directory for results -> each alert's bytes
    rows: Callable[[Path], Rows]


@dataclass(frozen=True)
class Run:
    cost: Cost
    # Alerts that came, and those of them that came byte for byte.
    alerts: int
    identical: int


# --- the clients ------------------------------------------------------------------------------------------------------


def _python_client(requirements: str, script: str) -> Callable[[dict[str, Any], Path], list[str | Path]]:
    def command(job: dict[str, Any], directory: Path) -> list[str | Path]:
        return [venv(requirements), _PEERS / script, _written(directory / "job.json", json.dumps(job))]

    return command


def _curl_command(job: dict[str, Any], directory: Path) -> list[str | Path]:
    form = {"grant_type": "client_credentials", "scope": job["scope"]}
    form |= {name: job[name] for name in ("client_id", "client_secret")}
    common = ["silent", "show-error", "fail", "compressed", f'cacert = "{job["ca_path"]}"']
    common.append(f'header = "Prefer: {job["prefer"]}"')
    token = [f'url = "{job["token_url"]}"', f'data = "{urlencode(form)}"']
    return [
        _PEERS / "curl.sh",
        _written(directory / "common.txt", "\n".join(common) + "\n"),
        _written(directory / "token.txt", "\n".join(token) + "\n"),
        job["first_url"],
        job["output"],
    ]


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def _lines(pattern: str) -> Callable[[Path], Rows]:
    def rows(directory: Path) -> Rows:
        for path in sorted(directory.glob(pattern)):
            with path.open("rb") as stream:
                yield from (line.rstrip(b"\n") for line in stream)

    return rows


def _pages(directory: Path) -> Rows:
    decoder = json.JSONDecoder()
    for path in sorted(directory.glob("page-*.json")):
        # Latin-1: positions in the text are positions in the bytes.
        text = path.read_bytes().decode("latin-1")
        end = text.index('"value":[') + len('"value":[')
        while text[end] != "]":
            begin = end + (text[end] == ",")
            _row, end = decoder.raw_decode(text, begin)
            yield text[begin:end].encode("latin-1")


CLIENTS = (
    Client("us", "secops.defender", _python_client("engine", "engine.py"), _lines("alerts.jsonl")),
    Client("dlt", "dlt 1.31.0", _python_client("dlt", "dlt_rest.py"), _lines("files/defender/alerts/*.jsonl")),
    Client("loop", "requests loop", _python_client("engine", "loop.py"), _lines("alerts.jsonl")),
    Client("curl", "curl --compressed", _curl_command, _pages),
)


# --- a run ------------------------------------------------------------------------------------------------------------


def _job(mock: Mock, output: Path) -> dict[str, Any]:
    params = {
        "$top": "1000",
        "$orderby": "lastUpdateDateTime asc",
        "$filter": f"lastUpdateDateTime ge {mock.since}",
    }
    return {
        **asdict(mock),
        "token_url": f"{mock.url}/{mock.tenant_id}/oauth2/v2.0/token",
        "scope": "https://graph.microsoft.com/.default",
        "prefer": "include-unknown-enum-members",
        "path": _PATH,
        "params": params,
        "first_url": f"{mock.url}{_PATH}?{urlencode(params, quote_via=quote, safe='$:')}",
        "output": str(output),
    }


def _run(client: Client, mock: Mock, truth: dict[str, str]) -> Run:
    with fresh_directory(client.name) as directory:
        output = directory / "output"
        output.mkdir()
        command = client.command(_job(mock, output), directory)
        cost = measured(command, clean_env(), directory)
        return Run(cost, *_compared(client.rows(output), truth))


def _compared(rows: Rows, truth: dict[str, str]) -> tuple[int, int]:
    """How many alerts came, each once, and how many of them are the very bytes that were sent."""
    seen: set[str] = set()
    identical = 0
    for raw in rows:
        alert_id = json.loads(raw)["id"]
        if alert_id in seen:
            raise ToolError(f"The alert {alert_id} was written twice.")
        seen.add(alert_id)
        identical += hashlib.sha256(raw).hexdigest() == truth.get(alert_id)
    return len(seen & truth.keys()), identical


def _rounds(clients: list[Client], mock: Mock, rounds: int) -> dict[str, list[Run]]:
    truth = mock.truth()
    found: dict[str, list[Run]] = {client.name: [] for client in clients}
    for number in range(rounds + 1):
        # Each round begins with another client.
        start = number % len(clients)
        for client in clients[start:] + clients[:start]:
            run = _run(client, mock, truth)
            note = "not counted" if number == 0 else f"round {number}"
            cost = run.cost
            say(
                f"  {note:12} {client.title:18} {cost.wall_seconds:6.2f} s  CPU {cost.cpu_seconds:6.2f} s"
                f"  {cost.peak_megabytes:5.0f} MB"
            )
            if number:
                found[client.name].append(run)
    return found


# --- what comes of it -------------------------------------------------------------------------------------------------


def _figures(runs: list[Run], alerts: int) -> dict[str, Any]:
    costs = [run.cost for run in runs]
    wall = statistics.median(cost.wall_seconds for cost in costs)
    return {
        "wall_seconds": round(wall, 3),
        "rate": round(alerts / wall),
        "cpu": round(statistics.median(cost.cpu_seconds for cost in costs), 3),
        "peak_megabytes": round(statistics.median(cost.peak_megabytes for cost in costs), 1),
        "alerts": min(run.alerts for run in runs),
        "identical": min(run.identical for run in runs),
    }


def _print_table(clients: list[Client], figures: dict[str, dict[str, Any]], alerts: int) -> None:
    say(f"\n{'':18} {'alerts/s':>9} {'wall s':>8} {'CPU s':>8} {'peak MB':>8}  complete")
    for client in clients:
        row = figures[client.name]
        complete = "yes" if row["alerts"] == alerts else f"NO: {row['alerts']} of {alerts}"
        kept = "byte for byte" if row["identical"] == alerts else f"re-encoded ({row['identical']} unchanged)"
        say(
            f"{client.title:18} {row['rate']:9,} {row['wall_seconds']:8.2f} {row['cpu']:8.2f}"
            f" {row['peak_megabytes']:8.0f}  {complete}, {kept}"
        )


def _print_ratios(figures: dict[str, dict[str, Any]]) -> dict[str, float]:
    ratios = {}
    for title, figure, other, kind, aim in _AIMS:
        if {"us", other} <= figures.keys():
            ratio = figures["us"][figure] / figures[other][figure]
            reached = ratio >= aim if kind == "at least" else ratio <= aim
            ratios[f"{figure}/{other}"] = round(ratio, 3)
            say(f"  {ratio:5.2f} times the {title:21} aim: {kind} {aim:.2f}{'' if reached else ', missed'}")
    return ratios


def _chosen(names: list[str] | None) -> list[Client]:
    clients = [client for client in CLIENTS if not names or client.name in names]
    if shutil.which("curl") is None and any(client.name == "curl" for client in clients):
        say("curl is not installed: it is left out.")
        clients = [client for client in clients if client.name != "curl"]
    return clients


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--alerts", type=int, default=20_000, help="how many alerts (default: 20000)")
    parser.add_argument("--size", type=int, default=5500, help="about how large each is, in bytes (default: 5500)")
    parser.add_argument("--rounds", type=int, default=3, help="how often (default: 3)")
    parser.add_argument("--json", metavar="FILE", help="write the figures to a file as well")
    parser.add_argument("--only", action="append", choices=[client.name for client in CLIENTS], help="may be repeated")
    return parser.parse_args()


def main() -> int:
    options = _options()
    clients = _chosen(options.only)
    for name in ("engine", "dlt") if any(client.name == "dlt" for client in clients) else ("engine",):
        venv(name)
    (LOCAL / "home").mkdir(parents=True, exist_ok=True)
    say(f"{options.alerts} alerts of about {options.size} bytes; {load_line()}")
    with mock_tenant(venv("engine"), options.alerts, options.size) as mock:
        found = _rounds(clients, mock, options.rounds)
    figures = {name: _figures(runs, options.alerts) for name, runs in found.items()}
    _print_table(clients, figures, options.alerts)
    say("")
    ratios = _print_ratios(figures)
    say(f"Medians of {options.rounds} interleaved rounds; {load_line()}")
    if os.getloadavg()[0] > 1.5 * (os.cpu_count() or 1):
        say("The machine was busy: trust the CPU times more than the wall times.")
    if options.json:
        content = {"alerts": options.alerts, "size": options.size, "rounds": options.rounds, "load": os.getloadavg()}
        runs = {name: [asdict(run) for run in runs] for name, runs in found.items()}
        content |= {"figures": figures, "ratios": ratios, "runs": runs}
        Path(options.json).write_text(json.dumps(content, indent=2) + "\n")
    return 0 if all(row["alerts"] == options.alerts for row in figures.values()) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ToolError as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
