# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which streams a run has: one for each tenant and API that its options, or its job's definition, mean.

What stands in the way of one tenant is that stream's error; the others are pulled all the same.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from .config import Connection, resolve
from .credentials import CredentialStore, same_text
from .errors import JobError, WdatpError
from .options import FEDERATED_TOKEN_FILE, PACE, PATIENCE

# All of the environment that has a say in a job.
_ENVIRONMENT = (FEDERATED_TOKEN_FILE.env,)
_PASSED_ON = (*(option.name for option in (*PATIENCE, *PACE)), "config_dir")


class Planned(NamedTuple):
    """A stream: its connection, or the error that there is none."""

    tenant_id: str
    organization: str | None
    # Empty where nothing names one.
    api: str
    # Empty for an identity that was given with the task.
    credential: str
    connection: Connection | WdatpError

    @property
    def error(self) -> WdatpError | None:
        return self.connection if isinstance(self.connection, WdatpError) else None

    def connected(self) -> Connection:
        """The connection. WdatpError where there is none."""
        if isinstance(self.connection, WdatpError):
            raise self.connection
        return self.connection


def plan(options: Mapping[str, Any]) -> list[Planned]:
    """The streams of a run. WdatpError where the options as a whole make no sense."""
    if options.get("job"):
        return plan_of_job(options)
    return [_of(connection) for connection in resolve(options)]


def plan_of_job(options: Mapping[str, Any]) -> list[Planned]:
    """The streams of a job, by the options of its definition. WdatpError."""
    names = options["credentials"] or CredentialStore(options["config_dir"]).names()
    found = [item for name in names for item in _of_credential(name, options)]
    organizations = options["organizations"] or []
    chosen = [item for item in found if _is_chosen(item, organizations)]
    missing = [name for name in organizations if not any(same_text(name, item.organization) for item in found)]
    # What can't even be read may be the one that is missing.
    if missing and not any(item.error for item in found):
        raise JobError(
            f"organizations: no stored credential of the job serves {', '.join(missing)}.",
            "Correct the name, or define the credential with that organization (wdatp_credential).",
            code="job.organization",
        )
    mine = [item for item in chosen if is_mine(item.tenant_id, options["collectors"], options["collector"])]
    if not chosen:
        raise JobError(
            f"The job has nobody to pull for: no credential is stored under {options['config_dir']}.",
            "Define one with the module secops.defender.wdatp_credential first.",
            code="job.nobody",
        )
    return _once(mine)


def _of(connection: Connection) -> Planned:
    tenant, api = connection.identity.tenant_id, connection.target.api
    return Planned(tenant, connection.organization, api, connection.credential or "", connection)


def _of_credential(name: str, options: Mapping[str, Any]) -> Iterator[Planned]:
    passed_on = {key: options.get(key) for key in _PASSED_ON}
    # Whatever shell a job is started from, it is the same job.
    environ = {key: os.environ[key] for key in _ENVIRONMENT if key in os.environ}
    for api in options["apis"] or [None]:
        try:
            yield from map(_of, resolve({**passed_on, "credential": name, "api": api}, environ))
        except WdatpError as error:
            for tenant_id, organization in _served(name, options["config_dir"]):
                yield Planned(tenant_id, organization, api or "", name, error)


def _served(name: str, config_dir: str) -> list[tuple[str, str | None]]:
    """(tenant, organization) of those whom a credential serves, as far as it can be read."""
    try:
        return CredentialStore(config_dir).load(name).served()
    except WdatpError:
        # Which is the very error that is to be reported.
        return [("", None)]


def _is_chosen(item: Planned, organizations: Sequence[str]) -> bool:
    is_unknown = item.error is not None and item.organization is None
    return not organizations or is_unknown or any(same_text(name, item.organization) for name in organizations)


def _once(items: Sequence[Planned]) -> list[Planned]:
    """Without a tenant's second credential: both would pull the same stream."""
    found: dict[tuple[str, str], Planned] = {}
    for item in items:
        key = (item.tenant_id.lower() or item.credential, item.api)
        found.setdefault(key, item)
    return list(found.values())


def is_mine(tenant_id: str, collectors: Sequence[str] | None, collector: str | None) -> bool:
    """Whether a tenant is this collector's share."""
    return not collectors or collector_of(tenant_id, collectors) == collector


def collector_of(tenant_id: str, collectors: Sequence[str]) -> str:
    """The collector that pulls a tenant.

    By rendezvous hashing (Thaler and Ravishankar, 1996): each tenant goes to the collector with the highest number for
    it. So a collector that is added takes its share from all, and nothing moves between the others.
    """
    return max(collectors, key=lambda name: (_number(name, tenant_id), name))


def _number(collector: str, tenant_id: str) -> bytes:
    return hashlib.blake2b(f"{collector}\n{tenant_id.lower()}".encode(), digest_size=8).digest()
