# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of the mock tenant."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from .config import TenantConfig
from .pki import write_private
from .tenant import MockTenant

_POLL_SECONDS = 0.5


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mock_api",
        description="A mock Microsoft Defender tenant: Entra ID and four alert APIs over https on 127.0.0.1.",
    )
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: a free one)")
    parser.add_argument("--dir", help="where keys and certificates are written (default: a temporary directory)")
    parser.add_argument("--ready-file", help="write a JSON file with addresses and identity once it listens")
    parser.add_argument("--env-file", help="write WDATP_* lines, for a shell or a CI system")
    parser.add_argument("--parent-pid", type=int, help="end when this process is gone")
    parser.add_argument("--max-seconds", type=float, help="end after this time")
    parser.add_argument("--alerts", type=int, default=1000, help="how many alerts there are (default: 1000)")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other alerts (default: 1)")
    parser.add_argument("--span", default="24h", help="the time that the alerts cover, up to now (default: 24h)")
    parser.add_argument("--end", help="the newest alert's time, RFC 3339 (default: now)")
    parser.add_argument("--ties", type=int, help="how many alerts share each timestamp (default: some do)")
    parser.add_argument("--big-tie", type=int, default=0, help="so many alerts share one timestamp")
    parser.add_argument("--size", type=int, default=0, help="make alerts about this large, in bytes")
    parser.add_argument("--tenants", type=int, default=1, help="how many tenants share the app registration")
    parser.add_argument("--tenant-id", default="", help="the first tenant's id (default: made from the seed)")
    parser.add_argument("--client-id", default="", help="the app registration's id")
    parser.add_argument("--client-secret", default="", help="its secret; better given as MOCK_CLIENT_SECRET")
    parser.add_argument("--links", choices=["on", "off"], default="on", help="send @odata.nextLink or not")
    parser.add_argument("--rate-limits", action="store_true", help="enforce Microsoft's limits of calls a minute")
    parser.add_argument("--faults", help="a JSON file with a list of faults")
    parser.add_argument("--config", help="a JSON file with any knobs (see docs/mock_tenant.md)")
    return parser


def _config(options: argparse.Namespace) -> TenantConfig:
    knobs: dict[str, Any] = {
        name: getattr(options, name)
        for name in "alerts seed span end ties big_tie size tenants tenant_id client_id links rate_limits".split()
    }
    knobs["client_secret"] = options.client_secret or os.environ.get("MOCK_CLIENT_SECRET", "")
    if options.faults:
        knobs["faults"] = json.loads(Path(options.faults).read_text("utf-8"))
    if options.config:
        knobs.update(json.loads(Path(options.config).read_text("utf-8")))
    return TenantConfig(**knobs)


def _write_atomically(path: str, text: str) -> None:
    """Whoever waits for the file never sees half of it."""
    target = Path(path).absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    write_private(temporary, text.encode())
    os.replace(temporary, target)


def _env_lines(tenant: MockTenant) -> str:
    values = {
        "WDATP_TENANT_ID": tenant.tenant_id,
        "WDATP_CLIENT_ID": tenant.client_id,
        "WDATP_CLIENT_SECRET": tenant.client_secret,
        "WDATP_AUTHORITY_URL": tenant.url,
        "WDATP_API_URL": tenant.url,
        "WDATP_CA_PATH": tenant.ca_path,
    }
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())


def _is_gone(pid: int, was_parent: bool) -> bool:
    if was_parent and os.getppid() != pid:
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _wait(stop: threading.Event, parent_pid: int | None, max_seconds: float | None) -> None:
    was_parent = parent_pid is not None and os.getppid() == parent_pid
    end = time.monotonic() + max_seconds if max_seconds else None
    while not stop.wait(_POLL_SECONDS):
        if end is not None and time.monotonic() >= end:
            return
        if parent_pid is not None and _is_gone(parent_pid, was_parent):
            return


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    stop = threading.Event()
    # Before anything is written: a signal during the start must clean up as well.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda signum, frame: stop.set())
    try:
        tenant = MockTenant(_config(options), options.dir, options.port)
    except (OSError, ValueError, TypeError) as error:
        print(f"mock tenant: {error}", file=sys.stderr)
        return 2
    with tenant:
        if options.env_file:
            _write_atomically(options.env_file, _env_lines(tenant))
        if options.ready_file:
            _write_atomically(options.ready_file, json.dumps(tenant.describe(), indent=2) + "\n")
        identity = f"tenant_id={tenant.tenant_id} client_id={tenant.client_id} client_secret={tenant.client_secret}"
        print(f"mock tenant ready: url={tenant.url} ca_path={tenant.ca_path} {identity}", flush=True)
        _wait(stop, options.parent_pid, options.max_seconds)
    return 0
