# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tokens for the next run: only where they are asked for, only for the credential that they were made with."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp import sealing, tokencache
from ansible_collections.secops.defender.plugins.module_utils._wdatp.definitions import define
from ansible_collections.secops.defender.plugins.module_utils._wdatp.errors import CredentialError
from ansible_collections.secops.defender.plugins.module_utils._wdatp.pull import Context, PullReport, pull
from mock_api import MockTenant

Pull = Callable[..., PullReport]


@pytest.fixture
def pulled(tenant: MockTenant, tmp_path: Path) -> Pull:
    """pulled(token_cache=True, …) -> the report of a pull."""

    def run(check_mode: bool = False, **options: Any) -> PullReport:
        known = dict(tenant.options)
        if "credential" in options:
            for name in ("tenant_id", "client_id", "client_secret"):
                del known[name]
        places = {
            "state_dir": str(tmp_path / "state"),
            "config_dir": str(tmp_path / "etc"),
            "runtime_dir": str(tmp_path / "run"),
        }
        return pull(
            {**known, **places, "retries": 1, "token_cache": True, **options},
            Context(check_mode=check_mode),
        )

    return run


def tokens(tenant: MockTenant) -> int:
    return [entry["leg"] for entry in tenant.requests].count("token")


def kept(tmp_path: Path) -> str:
    place = tmp_path / "run"
    return "".join(path.read_text() for path in place.iterdir()) if place.exists() else ""


def test_next_runs_use_the_same_token(tenant: MockTenant, pulled: Pull, tmp_path: Path) -> None:
    assert all(pulled().failure() is None for _number in range(3))
    assert tokens(tenant) == 1
    (path,) = (tmp_path / "run").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert tenant.client_secret not in kept(tmp_path)


def test_nothing_is_kept_unless_asked_for(
    tenant: MockTenant, pulled: Pull, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for value in (None, False):
        assert pulled(token_cache=value).failure() is None
    assert tokens(tenant) == 2
    assert "eyJ" not in kept(tmp_path)
    monkeypatch.setenv("WDATP_TOKEN_CACHE", "true")
    pulled(token_cache=None)
    assert "eyJ" in kept(tmp_path)
    # What is given wins.
    pulled(token_cache=False)
    assert tokens(tenant) == 4


def test_check_mode_keeps_nothing(pulled: Pull, tmp_path: Path) -> None:
    assert pulled(check_mode=True).failure() is None
    assert "eyJ" not in kept(tmp_path)


def test_another_secret_is_tried(tenant: MockTenant, pulled: Pull) -> None:
    """A wrong one must not work because of what a right one has left."""
    pulled()
    failure = pulled(client_secret="wrong").failure()
    assert failure is not None
    assert failure.code == "auth.invalid_secret"
    assert pulled().failure() is None
    assert tokens(tenant) == 2


def test_another_scope_has_a_token_of_its_own(tenant: MockTenant, pulled: Pull) -> None:
    pulled()
    assert pulled(api="mde_alerts").failure() is None
    assert tokens(tenant) == 2
    pulled()
    pulled(api="mde_alerts")
    assert tokens(tenant) == 2


def test_token_near_its_end_is_asked_for_anew(
    tenant: MockTenant, pulled: Pull, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulled()
    real = tokencache.TokenCache.get

    def later(self: tokencache.TokenCache, proof: Any) -> Any:
        found = real(self, proof)
        return found and (found[0], 200.0, found[2])

    monkeypatch.setattr(tokencache.TokenCache, "get", later)
    assert pulled().failure() is None
    assert tokens(tenant) == 2


def test_token_that_is_refused_is_replaced(tenant: MockTenant, pulled: Pull) -> None:
    """Revoked in the meantime: continuous access evaluation."""
    pulled()
    tenant.set_faults([{"match": {"leg": "graph_alerts", "times": 1}, "do": {"claims_challenge": True}}])
    assert pulled().failure() is None
    assert tokens(tenant) == 2
    # The claims of a challenge are part of the question, so an ordinary run asks once more.
    assert pulled().failure() is None
    assert pulled().failure() is None
    assert tokens(tenant) == 3


def test_reader_of_garbage_asks_anew(tenant: MockTenant, pulled: Pull, tmp_path: Path) -> None:
    pulled()
    (path,) = (tmp_path / "run").iterdir()
    path.write_bytes(path.read_bytes()[:-40])
    assert pulled().failure() is None
    assert tokens(tenant) == 2


# --- encrypted where the secret is ---------------------------------------------------------------------------------


@pytest.fixture
def sealed(tenant: MockTenant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stored credential whose secret is encrypted, by a key that the test can follow."""

    def key(name: str, verb: str, source: str, text: str, *more: str) -> str:
        if verb == "encrypt":
            return json.dumps([name, text[::-1]])
        found = json.loads(text if source == "-" else Path(source).read_text())
        if found[0] != name:
            raise CredentialError("another name", "none", code="credential.sealing")
        return str(found[1])[::-1]

    monkeypatch.setattr(sealing, "_run", key)
    define(
        {
            "name": "contoso",
            "config_dir": str(tmp_path / "etc"),
            "tenant_id": tenant.tenant_id,
            "client_id": tenant.client_id,
            "client_secret": tenant.client_secret,
            "secret_storage": "systemd_creds",
        },
        environ={},
    )


@pytest.mark.usefixtures("sealed")
def test_token_is_encrypted_where_the_secret_is(tenant: MockTenant, pulled: Pull, tmp_path: Path) -> None:
    for _number in range(2):
        assert pulled(credential="contoso").failure() is None
    assert tokens(tenant) == 1
    assert "eyJ" not in kept(tmp_path)
    assert "wdatp-token" in kept(tmp_path)


@pytest.mark.usefixtures("sealed")
def test_token_that_cannot_be_decrypted_is_asked_for_anew(tenant: MockTenant, pulled: Pull, tmp_path: Path) -> None:
    pulled(credential="contoso")
    (path,) = (tmp_path / "run").iterdir()
    path.write_text(path.read_text().replace("wdatp-token", "other-token"))
    assert pulled(credential="contoso").failure() is None
    assert tokens(tenant) == 2
