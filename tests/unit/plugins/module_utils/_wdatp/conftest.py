# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of everything that talks to Microsoft share: a mock tenant, and connections to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp import pull
from ansible_collections.secops.defender.plugins.module_utils._wdatp.config import Connection, resolve_one
from collecting import Collector
from fault_job import DATA, Job, reset
from mock_api import MockTenant, TenantConfig

_FOREIGN = (
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "MSAL_FORCE_REGION",
)


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the developer's own environment must not decide."""
    for name in _FOREIGN:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(scope="module")
def running_tenant(request: pytest.FixtureRequest) -> Iterator[MockTenant]:
    """What a file's TENANT says of it, if there is one."""
    with MockTenant(TenantConfig(**getattr(request.module, "TENANT", {"alerts": 40}))) as tenant:
        yield tenant


@pytest.fixture
def tenant(running_tenant: MockTenant, clean_environment: None) -> Iterator[MockTenant]:
    """A mock tenant without faults; what a test turns is turned back."""
    running_tenant.clear_requests()
    yield running_tenant
    running_tenant.set_faults([])
    fresh = TenantConfig()
    running_tenant.configure(
        server_certificate=fresh.server_certificate,
        clock_skew_seconds=fresh.clock_skew_seconds,
        roles=fresh.roles,
        token_lifetime=fresh.token_lifetime,
        secrets=[],
        expired_secrets=[],
        foreign_tenants=[],
        unconsented_tenants=[],
        missing_resources=[],
        app_disabled=False,
    )


@pytest.fixture
def collector(tenant: MockTenant, request: pytest.FixtureRequest, tmp_path: Path) -> Collector:
    """A host that has a credential for three customers; for files whose TENANT has them."""
    tenant.configure(**{name: value for name, value in request.module.TENANT.items() if name != "tenants"})
    found = Collector(tenant, tmp_path)
    found.credential()
    return found


@pytest.fixture
def connection_to(tenant: MockTenant) -> Callable[..., Connection]:
    """connection_to(api="mde_alerts", …) -> a connection to the mock tenant; None takes an option away."""

    def connect(**options: Any) -> Connection:
        known = {
            **tenant.options,
        }
        return resolve_one({**known, **options}, {})

    return connect


@pytest.fixture(scope="module")
def faulty_tenant() -> Iterator[MockTenant]:
    """One for all tests of a file; `job` sets it back."""
    with MockTenant(TenantConfig(**DATA)) as tenant:
        yield tenant


@pytest.fixture
def nasty(faulty_tenant: MockTenant, clean_environment: None) -> MockTenant:
    """A mock tenant as on its first day, for tests of faults."""
    reset(faulty_tenant)
    return faulty_tenant


@pytest.fixture
def job(nasty: MockTenant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Job]:
    """job(api="mde_alerts", ...) -> a job that pulls from the tenant `nasty`, and never really waits."""

    def use(made: Job) -> None:
        monkeypatch.setattr(pull, "Transport", made.transport)
        monkeypatch.setattr(pull, "runtime_of", made.runtime)

    def make(directory: Path = tmp_path, **options: Any) -> Job:
        return Job(nasty, directory, use, **options)

    return make
