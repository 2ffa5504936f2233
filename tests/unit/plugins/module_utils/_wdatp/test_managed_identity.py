# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole pulls with a host's own identity: a virtual machine's, and that of a host with Azure Arc."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp.pull import Context, PullReport, pull
from mock_api import MockTenant
from mock_api.imds import MockImds

msal = pytest.importorskip("msal")
if not hasattr(msal, "ManagedIdentityClient"):
    pytest.skip("this msal knows no managed identities", allow_module_level=True)

USER_ASSIGNED = "6d5c4b3a-2f1e-4d0c-8b9a-7f6e5d4c3b2a"
APIS = ("graph_alerts", "graph_incidents", "mde_alerts", "alert_exporter")
Pull = Callable[..., PullReport]


@pytest.fixture
def pulled(tenant: MockTenant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pull:
    """pulled(imds, api=…) -> the report of a pull on the host that this metadata service belongs to."""

    def run(imds: MockImds, **options: Any) -> PullReport:
        for name, value in imds.environment.items():
            monkeypatch.setenv(name, value)
        # Nothing of this may go through a proxy.
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        known = {"tenant_id": tenant.tenant_id, "auth_method": "managed_identity", "ca_path": tenant.ca_path}
        addresses = {"api_url": tenant.url, "authority_url": tenant.url, "state_dir": str(tmp_path / "state")}
        return pull({**known, **addresses, "config_dir": str(tmp_path), "retries": 1, **options}, Context())

    return run


@pytest.fixture
def arc_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Arc's agent puts its key files; on a real host only it may make the directory."""
    known = getattr(msal.managed_identity, "_supported_arc_platforms_and_their_prefixes", None)
    if known is None:
        pytest.skip("this msal knows no Azure Arc")
    place = tmp_path / "tokens"
    place.mkdir()
    monkeypatch.setitem(known, "linux", str(place))
    return place


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("client_id", [None, USER_ASSIGNED], ids=["system-assigned", "user-assigned"])
def test_virtual_machine(tenant: MockTenant, pulled: Pull, tmp_path: Path, api: str, client_id: str | None) -> None:
    with MockImds(tenant, client_ids=[client_id]) as imds:
        report = pulled(imds, api=api, client_id=client_id)
    assert report.failure() is None
    lines = (tmp_path / "state" / "events.jsonl").read_bytes().splitlines()
    assert sorted(lines) == sorted(raw for _id, _time, raw in tenant.alerts(api))
    assert [entry["status"] for entry in imds.requests] == [200]
    # Entra ID itself is not asked.
    assert "token" not in [entry["leg"] for entry in tenant.requests]


def test_azure_arc(tenant: MockTenant, pulled: Pull, tmp_path: Path, arc_keys: Path) -> None:
    with MockImds(tenant, "arc", key_directory=arc_keys) as imds:
        report = pulled(imds)
    assert report.failure() is None
    assert report.to_dict()["written"] == len(list(tenant.alerts("graph_alerts")))
    assert [entry["status"] for entry in imds.requests] == [401, 200]


def test_azure_arc_whose_key_may_not_be_read(
    tenant: MockTenant, pulled: Pull, arc_keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.stat

    def stat(path: Any, **more: Any) -> os.stat_result:
        if str(path).endswith(".key"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, **more)

    with MockImds(tenant, "arc", key_directory=arc_keys) as imds:
        monkeypatch.setattr(msal.managed_identity.os, "stat", stat)
        failure = pulled(imds).failure()
    assert failure is not None
    assert failure.code == "auth.managed_identity"
    assert "group himds" in failure.message
    assert str(arc_keys) in failure.message


def test_identity_that_is_not_assigned_to_the_host(tenant: MockTenant, pulled: Pull) -> None:
    with MockImds(tenant, client_ids=[USER_ASSIGNED]) as imds:
        failure = pulled(imds).failure()
    assert failure is not None
    assert failure.code == "auth.managed_identity"
    assert "Identity not found" in failure.message
    assert "assigned" in failure.remedy


def test_token_that_ends_in_mid_drain_is_asked_for_anew(tenant: MockTenant, pulled: Pull) -> None:
    tenant.set_faults([{"match": {"leg": "graph_alerts", "n": 2}, "do": {"status": 401}}])
    with MockImds(tenant) as imds:
        report = pulled(imds, page_size=10)
    assert report.failure() is None
    assert report.to_dict()["written"] == len(list(tenant.alerts("graph_alerts")))
    assert len(imds.requests) == 2
