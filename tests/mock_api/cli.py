# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of the mock tenant."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from .config import CHOICES, TenantConfig
from .files import write_at_once
from .imds import MockImds
from .tenant import MockTenant

_POLL_SECONDS = 0.1
# These words mean themselves, in a shell as well as in files that know no quotes, such as GitHub's GITHUB_ENV.
_PLAIN = re.compile(r"[\w@%+=:,./-][\w@%+=,./~-]*(:[\w@%+=,./-][\w@%+=,./~-]*)*", re.ASCII)
# Options that are knobs by the same name.
_KNOBS = ("alerts", "seed", "span", "end", "ties", "big_tie", "size", "tenants", "tenant_id", "client_id", "links")


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
    parser.add_argument("--links", choices=CHOICES["links"], default="on", help="send @odata.nextLink or not")
    parser.add_argument("--ccp", action="store_true", help="play CyberArk's CCP too, with the app's secret in it")
    parser.add_argument(
        "--imds", choices=("vm", "arc"), help="play the metadata service of a host with an identity too"
    )
    parser.add_argument("--rate-limits", action="store_true", help="enforce Microsoft's limits of calls a minute")
    parser.add_argument("--faults", help="a JSON file with a list of faults")
    parser.add_argument("--config", help="a JSON file with any knobs (see docs/mock_tenant.md)")
    return parser


def _config(options: argparse.Namespace) -> TenantConfig:
    knobs: dict[str, Any] = {name: getattr(options, name) for name in (*_KNOBS, "rate_limits")}
    knobs["client_secret"] = options.client_secret or os.environ.get("MOCK_CLIENT_SECRET", "")
    if options.ccp:
        knobs["ccp"] = {}
    if options.faults:
        knobs["faults"] = _json(options.faults, list, "list")
    if options.config:
        knobs.update(_json(options.config, dict, "object"))
    return TenantConfig.read(knobs)


def _json(path: str, kind: type, name: str) -> Any:
    value = json.loads(Path(path).read_text("utf-8"))
    if not isinstance(value, kind):
        raise ValueError(f"{path} does not hold a JSON {name}")
    return value


def _env_lines(tenant: MockTenant, imds: MockImds | None) -> str:
    values = {f"WDATP_{name.upper()}": value for name, value in tenant.options.items()}
    values.update(imds.environment if imds else {})
    return "".join(f"{name}={_quoted(text)}\n" for name, text in values.items())


def _ready_line(tenant: MockTenant) -> str:
    names = ("url", "ca_path", "tenant_id", "client_id", "client_secret")
    return "mock tenant ready: " + " ".join(f"{name}={_quoted(getattr(tenant, name))}" for name in names)


def _quoted(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else shlex.quote(text)


class _Stop:
    """Ctrl-C, a signal, the end of the parent, the end of the time."""

    def __init__(self, parent_pid: int | None, max_seconds: float | None) -> None:
        self.parent_pid = parent_pid
        self.is_child = parent_pid is not None and os.getppid() == parent_pid
        self.end = time.monotonic() + max_seconds if max_seconds is not None else None
        self.signalled = False
        # Before anything is written: a signal during the start must clean up as well. SIGHUP: the terminal was closed.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._note)

    def _note(self, number: int, frame: object) -> None:
        # Nothing but this: a lock that is taken here may be held by the code that was interrupted.
        self.signalled = True

    def wait(self) -> None:
        while not (self.signalled or self._is_late() or self._is_orphan()):
            time.sleep(_POLL_SECONDS)

    def _is_late(self) -> bool:
        return self.end is not None and time.monotonic() >= self.end

    def _is_orphan(self) -> bool:
        if self.parent_pid is None:
            return False
        if self.is_child and os.getppid() != self.parent_pid:
            return True
        try:
            os.kill(self.parent_pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    stop = _Stop(options.parent_pid, options.max_seconds)
    try:
        with ExitStack() as stack:
            tenant = stack.enter_context(MockTenant(_config(options), options.dir, options.port))
            imds = stack.enter_context(MockImds(tenant, options.imds)) if options.imds else None
            if options.env_file:
                write_at_once(options.env_file, _env_lines(tenant, imds))
            if options.ready_file:
                write_at_once(options.ready_file, json.dumps(tenant.describe(), indent=2) + "\n")
            print(_ready_line(tenant), flush=True)
            stop.wait()
    except (OSError, ValueError) as error:
        print(f"mock tenant: {error}", file=sys.stderr)
        return 2
    return 0
