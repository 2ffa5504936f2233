# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mock tenants for tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from mock_api import MockTenant
from mock_client import Client, serve


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own proxies and CAs, which requests and MSAL obey, are not what is tested here."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def shared() -> Iterator[MockTenant]:
    """For tests that only read."""
    with serve(alerts=300, seed=5) as tenant:
        yield tenant


@pytest.fixture(scope="module")
def client(shared: MockTenant) -> Client:
    return Client(shared)


@pytest.fixture
def tenant() -> Iterator[MockTenant]:
    """For tests that change something."""
    with serve(alerts=120) as tenant:
        yield tenant
