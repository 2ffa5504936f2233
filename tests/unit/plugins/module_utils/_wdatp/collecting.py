# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A collector of the tests: stored credentials of a mock tenant's customers, and jobs that pull them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.secops.defender.plugins.module_utils._wdatp.definitions import define
from ansible_collections.secops.defender.plugins.module_utils._wdatp.jobdefinitions import Outcome, define_job
from ansible_collections.secops.defender.plugins.module_utils._wdatp.jobs import Job, JobStore
from ansible_collections.secops.defender.plugins.module_utils._wdatp.options import JOB
from ansible_collections.secops.defender.plugins.module_utils._wdatp.pull import Context, PullReport, pull
from ansible_collections.secops.defender.plugins.module_utils._wdatp.status import job_infos
from mock_api import MockTenant

NAMES = ("Alpha", "Beta", "Gamma")
# Of a mock tenant with these customers: alerts that are younger than the first pull's day.
CUSTOMERS: dict[str, Any] = {
    "tenants": len(NAMES),
    "alerts": 30,
    "span": "20h",
    "recent_share": None,
    "layout": "compact",
    "big_tie": 0,
}


class Collector:
    """A host with its two directories."""

    def __init__(self, tenant: MockTenant, place: Path) -> None:
        self.tenant = tenant
        self.config_dir, self.state_dir = str(place / "etc"), str(place / "var")
        self.warnings: list[str] = []

    @property
    def events(self) -> Path:
        return Path(self.state_dir) / "events.jsonl"

    def credential(self, name: str = "msp", names: tuple[str, ...] = NAMES, **options: Any) -> None:
        """One that serves these customers of the mock tenant."""
        ids = [entry["tenant_id"] for entry in self.tenant.tenants]
        given = {
            "name": name,
            "config_dir": self.config_dir,
            "client_id": self.tenant.client_id,
            "client_secret": self.tenant.client_secret,
            "secret_storage": "file",
            "tenants": [{"tenant_id": ids[NAMES.index(title)], "organization": title} for title in names],
            "api_url": self.tenant.url,
            "authority_url": self.tenant.url,
            "ca_path": self.tenant.ca_path,
        }
        define({**given, **options}, environ={})

    def define(self, check: bool = False, **options: Any) -> Outcome:
        known = {option.name: option.default for option in JOB}
        directories = {"config_dir": self.config_dir, "state_dir": self.state_dir}
        return define_job({**known, **directories, "timeout": 10, "retries": 1, **options}, check)

    def job(self, name: str = "default") -> Job:
        return JobStore(self.config_dir).load(name)

    def pull(self, job: str = "default", insists: bool = False, check: bool = False, **options: Any) -> PullReport:
        directories = {"config_dir": self.config_dir, "state_dir": self.state_dir}
        context = Context(warn=self.warnings.append, insists=insists, check_mode=check)
        return pull({**directories, "job": job, **options}, context)

    def info(self, name: str = "default") -> dict[str, Any]:
        (found,) = job_infos(self.config_dir, self.state_dir, name)
        return found
