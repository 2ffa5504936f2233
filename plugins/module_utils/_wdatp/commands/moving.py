# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`wdatp export` and `wdatp import`: a tenant moves from one collector to another."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ..console import Console, table
from ..errors import OptionError
from ..moving import Moved, export_leaving, export_tenant, import_tenants, take_back
from .choice import chosen_job


def move(options: Mapping[str, Any], console: Console) -> int:
    """0. WdatpError where nothing was moved."""
    if options["command"] == "export":
        _export(options, console)
    else:
        _import(options, console)
    return 0


def _export(options: Mapping[str, Any], console: Console) -> None:
    job, state_dir = chosen_job(options), options["state_dir"]
    if options["leaving"] and not options["tenant"] and not options["file"]:
        left = export_leaving(job, state_dir, os.path.abspath(options["leaving"]))
        rows = [[item.tenant_id, item.collector, item.path] for item in left]
        text = table([["TENANT", "COLLECTOR", "FILE"], *rows]) if rows else "No tenant belongs to another collector."
        console.result({"left": [item._asdict() for item in left]}, text)
    elif options["tenant"] and options["file"] and not options["leaving"]:
        path = os.path.abspath(options["file"])
        moved = export_tenant(job, state_dir, options["tenant"], path)
        after = f"{path} has to be imported where the tenant is pulled from now on; here it is not pulled any more."
        _show(moved, after, console)
    else:
        raise OptionError("What is to be exported?", "Type --tenant WHO FILE, or --leaving DIR.")


def _import(options: Mapping[str, Any], console: Console) -> None:
    job, state_dir = chosen_job(options), options["state_dir"]
    if bool(options["tenant"]) == bool(options["file"]):
        raise OptionError("What is to be imported?", "Type the file; or --tenant WHO, to take a tenant back.")
    if options["file"]:
        _show(import_tenants(job, state_dir, options["file"]), "The next run goes on from there.", console)
    else:
        tenants = take_back(job, state_dir, options["tenant"])
        console.result({"tenants": tenants}, f"{', '.join(tenants)}: pulled here again, from where it was.")


def _show(moved: Sequence[Moved], after: str, console: Console) -> None:
    rows = [[item.tenant_id, item.api, item.cursor or "-", str(item.versions)] for item in moved]
    head = ["TENANT", "API", "CURSOR", "KNOWN EVENTS"]
    console.result({"moved": [item._asdict() for item in moved]}, f"{table([head, *rows])}\n{after}")
