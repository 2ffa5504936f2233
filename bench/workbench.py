# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the benchmarks share: their directory, virtual environments, the mock tenant as a process, measured commands."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
sys.path.insert(0, str(ROOT / "tools"))

from common import ToolError, must, user_env  # noqa: E402

LOCAL = ROOT / ".local" / "bench"
# These would send the peers elsewhere, or keep them from the mock tenant.
_FOREIGN = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "requests_ca_bundle", "curl_ca_bundle")
_START_SECONDS = 120


def clean_env(**more: str | Path) -> dict[str, str]:
    env = {name: value for name, value in user_env().items() if name.lower() not in _FOREIGN}
    # Compiled files are kept, as after any first run, but not in the checkout.
    env |= {"HOME": str(LOCAL / "home"), "PYTHONPYCACHEPREFIX": str(LOCAL / "pycache"), "LC_ALL": "C.UTF-8"}
    return env | {name: str(value) for name, value in more.items()}


def say(text: str) -> None:
    print(text, flush=True)


# --- virtual environments ---------------------------------------------------------------------------------------------


def venv(name: str) -> Path:
    """The Python of a virtual environment with bench/requirements-<name>.txt, made anew when that has changed."""
    place, requirements = LOCAL / "venvs" / name, BENCH / f"requirements-{name}.txt"
    stamp = place / ".complete"
    texts = [path.read_bytes() for path in (requirements, *_included(requirements))]
    wanted = hashlib.sha256(b"\0".join([sys.version.encode(), *texts])).hexdigest()
    if not stamp.is_file() or stamp.read_text() != wanted:
        say(f"Setting up {place.relative_to(ROOT)} ...")
        shutil.rmtree(place, ignore_errors=True)
        must([sys.executable, "-m", "venv", place], user_env())
        must([place / "bin" / "python", "-m", "pip", "install", "--quiet", "-r", requirements], user_env())
        stamp.write_text(wanted)
    return place / "bin" / "python"


def _included(requirements: Path) -> list[Path]:
    lines = requirements.read_text().splitlines()
    return [requirements.parent / line.partition(" ")[2] for line in lines if line.startswith("-r ")]


# --- the mock tenant --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mock:
    """A mock tenant that runs. `since`: a time before all of its alerts."""

    url: str
    ca_path: str
    tenant_id: str
    client_id: str
    client_secret: str
    tenants: list[dict[str, Any]]
    pid: int
    since: str

    def control(self, method: str, path: str, value: Any = None) -> Any:
        """A request to the mock's control endpoint (docs/mock_tenant.md)."""
        context = ssl.create_default_context(cafile=self.ca_path)
        data = None if value is None else json.dumps(value).encode()
        request = urllib.request.Request(f"{self.url}/_mock/{path}", data, method=method)
        with urllib.request.urlopen(request, context=context) as answer:
            return json.loads(answer.read() or b"null")

    def cpu_seconds(self) -> float:
        """What the mock's process has used so far (proc_pid_stat(5))."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def truth(self) -> dict[str, str]:
        """What every client should get: alert id -> SHA-256 of the alert's bytes."""
        context = ssl.create_default_context(cafile=self.ca_path)
        address = f"{self.url}/_mock/truth?api=graph_alerts&unknown_members=true"
        with urllib.request.urlopen(address, context=context) as answer:
            rows = map(json.loads, answer)
            return {row["id"]: row["sha256"] for row in rows}


@contextlib.contextmanager
def mock_tenant(python: Path, alerts: int, size: int, tenants: int = 1) -> Iterator[Mock]:
    """A mock tenant as a process of its own, which ends with the block. `alerts`: of each, where there are several."""
    with fresh_directory("mock") as directory:
        ready = directory / "ready.json"
        command = [python, "-m", "mock_api", "--alerts", alerts, "--size", size, "--links", "on", "--span", "24h"]
        command += ["--tenants", tenants]
        command += ["--dir", directory / "files", "--ready-file", ready, "--parent-pid", os.getpid()]
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 48 * 3600))
        process = subprocess.Popen(
            [str(part) for part in command],
            env=clean_env(PYTHONPATH=ROOT / "tests"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        try:
            found = _wait_for(ready, process)
            names = ("url", "ca_path", "tenant_id", "client_id", "client_secret", "tenants", "pid")
            yield Mock(**{name: found[name] for name in names}, since=since)
        finally:
            process.terminate()
            process.wait(30)


def _wait_for(ready: Path, process: subprocess.Popen[bytes]) -> dict[str, Any]:
    end = time.monotonic() + _START_SECONDS
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > end:
            raise ToolError("The mock tenant did not start; its message is above.")
        time.sleep(0.05)
    found = json.loads(ready.read_text())
    assert isinstance(found, dict)
    return found


@contextlib.contextmanager
def fresh_directory(name: str) -> Iterator[Path]:
    """A new directory for a run, removed afterwards: the results of some runs are large."""
    place = LOCAL / "runs" / f"{os.getpid()}-{name}"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


# --- measured commands ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cost:
    wall_seconds: float
    cpu_seconds: float
    peak_megabytes: float


def measured(command: Sequence[str | Path], env: Mapping[str, str], directory: Path) -> Cost:
    """What a command costs. What it prints is shown only where it fails."""
    figures = directory / "figures.jsonl"
    # What the run before has left to be written must not slow down this one.
    os.sync()
    done = subprocess.run(
        [str(part) for part in measuring(figures, *command)],
        cwd=directory,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ToolError(f"{' '.join(map(str, command))} failed ({done.returncode}):\n{done.stdout[-4000:]}")
    return costs(figures)[-1][1]


def measuring(figures: Path, *command: str | Path) -> list[str | Path]:
    return [sys.executable, "-I", "-S", BENCH / "measure.py", figures, *command]


def costs(figures: Path) -> list[tuple[list[str], Cost]]:
    """(command, its cost) of all that was measured into a file."""
    rows = [json.loads(line) for line in figures.read_text().splitlines()] if figures.exists() else []
    return [(row["command"], Cost(row["wall_seconds"], row["cpu_seconds"], row["peak_megabytes"])) for row in rows]


def load_line() -> str:
    one, five, _fifteen = os.getloadavg()
    return f"{os.cpu_count()} processors, load {one:.1f} (1 min) {five:.1f} (5 min)"
