# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many alerts, many to a timestamp, one timestamp with more than a page: every one once, byte for byte.

The mock tenant runs in a process of its own, so that it doesn't share a processor's time with the test.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from ssl import create_default_context
from typing import Any

import pytest
from harness import ROOT, PlaybookRunner
from pulls import assert_figures, checksum, defaults, keep, pull, to

MANY = 100_000


@contextmanager
def running(directory: Path, **knobs: Any) -> Iterator[dict[str, Any]]:
    """A mock tenant with these knobs in a process of its own; what its ready file says."""
    directory.mkdir()
    config, ready = directory / "config.json", directory / "ready.json"
    config.write_text(json.dumps(knobs), "utf-8")
    command = [sys.executable, "-B", str(ROOT / "tests" / "mock_api"), "--config", str(config)]
    command += ["--ready-file", str(ready), "--dir", str(directory), "--parent-pid", str(os.getpid())]
    with (directory / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            end = time.monotonic() + 60
            while not ready.exists():
                assert process.poll() is None, (directory / "log").read_text("utf-8")
                assert time.monotonic() < end, "the mock tenant does not start"
                time.sleep(0.05)
            yield json.loads(ready.read_text("utf-8"))
        finally:
            process.terminate()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., dict[str, Any]]]:
    with ExitStack() as stack:
        yield lambda **knobs: stack.enter_context(running(tmp_path / "tenant", **knobs))


def truth(tenant: dict[str, Any], api: str) -> list[str]:
    """The SHA-256 of each event that the API can return, sorted."""
    url = f"{tenant['control_url']}/truth?api={api}&unknown_members=true"
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}),
        urllib.request.HTTPSHandler(context=create_default_context(cafile=tenant["ca_path"])),
    )
    with opener.open(url, timeout=120) as answer:
        return sorted(json.loads(line)["sha256"] for line in answer)


def delivered(path: Path) -> list[str]:
    """The same of a file's lines."""
    with path.open("rb") as stream:
        return sorted(hashlib.sha256(line.rstrip(b"\n")).hexdigest() for line in stream)


# API, knobs of the tenant, options of the pull.
CASES = {
    "graph_alerts, with links": ("graph_alerts", {"alerts": MANY, "big_tie": 3100}, {"page_size": 1000}),
    # As many to one timestamp as $top and $skip reach.
    "graph_alerts, without": ("graph_alerts", {"alerts": MANY, "big_tie": 1400, "links": "off"}, {"page_size": 1000}),
    "mde_alerts, without links": ("mde_alerts", {"alerts": MANY, "big_tie": 3100, "links": "off"}, {"page_size": 1000}),
    "alert_exporter": ("alert_exporter", {"alerts": 20_000, "big_tie": 3100}, {"page_size": 1000}),
    "graph_incidents": ("graph_incidents", {"alerts": 20_000, "incident_size": 2, "big_tie": 600}, {}),
}


@pytest.mark.parametrize("name", CASES)
def test_every_alert_once_and_a_second_run_writes_nothing(
    name: str, start: Callable[..., dict[str, Any]], run_playbook: PlaybookRunner, state_dir: Path, tmp_path: Path
) -> None:
    api, knobs, options = CASES[name]
    tenant = start(ties=37, span="24h", **knobs)
    events = tmp_path / "events.jsonl"
    identity = {name: tenant[name] for name in ("tenant_id", "client_id", "client_secret")}
    addresses = {name: tenant[name] for name in ("api_url", "authority_url", "ca_path")}
    result = run_playbook(
        [
            pull("First", **options, destinations=to(events)),
            keep("After first", events),
            pull("Second", **options, destinations=to(events)),
            keep("After second", events),
        ],
        play=defaults(state_dir, **identity, **addresses, api=api),
    ).ok()
    expected = truth(tenant, api)
    assert delivered(events) == expected
    count = len(expected)
    first, second = result["First"].result, result["Second"].result
    assert_figures(first, changed=True, fetched=count, new=count, written=count, pending=0, complete=True)
    assert_figures(second, changed=False, new=0, updated=0, written=0, complete=True)
    assert checksum(result, "After first") == checksum(result, "After second")
