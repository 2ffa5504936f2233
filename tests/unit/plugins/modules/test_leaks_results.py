# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules let out: no secret, and alerts and figures as they are, whatever the secret is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

pytest.importorskip("ansible.module_utils.basic")

from ansible.module_utils import basic
from ansible_collections.secops.defender.plugins.module_utils._wdatp import auth
from ansible_collections.secops.defender.plugins.module_utils._wdatp.page import value_of
from ansible_collections.secops.defender.plugins.modules import wdatp_pull_events, wdatp_test_connectivity
from canaries import CERTIFICATE_PASSWORD, CLIENT_SECRET, PROXY_PASSWORD, Hunt
from mock_api import MockTenant, TenantConfig

HUNT = Hunt({"client secret": CLIENT_SECRET, "password": CERTIFICATE_PASSWORD, "proxy password": PROXY_PASSWORD})
RunModule = Callable[..., dict[str, Any]]


def options_for(tenant: MockTenant, directory: Path) -> dict[str, Any]:
    return {
        **tenant.options,
        "config_dir": str(directory / "etc"),
    }


def pulled(run_module: RunModule, tenant: MockTenant, directory: Path, **more: Any) -> dict[str, Any]:
    own = {"state_dir": str(directory / "lib"), "initial_lookback": "2d", "return_events": 100}
    result = run_module(wdatp_pull_events.main, {**options_for(tenant, directory), **own, **more})
    assert not result.get("failed"), result
    return result


# --- alert data ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", ["new", "medium", "2026", "20", "1", '"', "alert", "microsoft", "e"])
def test_masking_changes_no_alert_and_no_figure(run_module: RunModule, tmp_path: Path, secret: str) -> None:
    """A secret that is a word or a number, as passwords of certificates are, occurs in every alert."""
    with MockTenant(TenantConfig(alerts=20, span="10h", client_secret=secret)) as tenant:
        found = pulled(run_module, tenant, tmp_path)
        truth = [(row, value_of(row)) for _id, _time, row in tenant.alerts("graph_alerts")]
        newest = max(alert["lastUpdateDateTime"] for _row, alert in truth)
    by_id = {alert["id"]: alert for alert in found["events"]}
    assert [name for _row, alert in truth for name in alert if by_id[alert["id"]].get(name) != alert[name]] == []
    assert set((tmp_path / "lib" / "events.jsonl").read_bytes().splitlines()) == {row for row, _alert in truth}
    assert (found["fetched"], found["new"], found["written"], found["pending"]) == (20, 20, 20, 0)
    for name in ("lag_seconds", "silent_seconds", "requests", "duration_seconds"):
        assert isinstance(found[name], (int, float))
    assert found["cursor"]["after"][:19] == newest[:19]
    assert found["streams"][0]["tenant_id"] == tenant.tenant_id
    # The option itself is shown by nobody.
    assert secret not in found["invocation"]["module_args"]["client_secret"].replace("VALUE_SPECIFIED", "")


def test_alert_that_holds_the_secret_is_returned_as_it_is(run_module: RunModule, tmp_path: Path) -> None:
    """Whoever attacks with the app's own secret is seen in the alert: evidence is not to be masked."""
    with MockTenant(TenantConfig(alerts=5, span="10h")) as tenant:
        truth = {alert["id"]: alert for alert in (value_of(row) for _id, _time, row in tenant.alerts("graph_alerts"))}
        secret = max((alert["description"] for alert in truth.values()), key=len)
        tenant.configure(secrets=[secret])
        found = pulled(run_module, tenant, tmp_path, client_secret=secret)
    assert {alert["id"]: alert for alert in found.pop("events")} == truth
    assert Hunt({"secret": secret}).in_value("the result apart from the events", found) == []


# --- logs, warnings, bugs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("login", ["carl", "c", ""])
@pytest.mark.parametrize("scheme", ["http://", ""])
@pytest.mark.parametrize("option", ["proxy", "api_url"])
def test_systems_log_gets_no_password(
    run_module: RunModule, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, login: str, scheme: str, option: str
) -> None:
    logged: list[str] = []
    monkeypatch.setattr(basic.syslog, "syslog", lambda level, text: logged.append(text))
    monkeypatch.setattr(basic, "has_journal", False)
    address = f"{scheme}{login}:{quote(PROXY_PASSWORD, safe='')}@127.0.0.1:1"
    given = {"client_secret": CLIENT_SECRET, "client_certificate_password": CERTIFICATE_PASSWORD, option: address}
    result = run_module(wdatp_test_connectivity.main, {"tenant_id": "x.example", "config_dir": str(tmp_path), **given})
    assert result["failed"]
    assert "Invoked with" in "".join(logged)
    assert HUNT.in_value("the log", logged) + HUNT.in_value("the result", result) == []


class Leaking(Exception):
    """As a library's error: it quotes what it was given."""


def bug(*args: Any, **named: Any) -> None:
    secret = CLIENT_SECRET
    try:
        raise KeyError(quote(secret))
    except KeyError as error:
        raise Leaking(f"can't use {secret!r}, {CERTIFICATE_PASSWORD}") from error


def test_bug_shows_no_secret(run_module: RunModule, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(auth.Authenticator, "_ask", bug)
    with MockTenant(TenantConfig(alerts=1, client_secret=CLIENT_SECRET)) as tenant:
        given = {**options_for(tenant, tmp_path), "client_certificate_password": CERTIFICATE_PASSWORD}
        result = run_module(wdatp_test_connectivity.main, given)
    assert result["error"]["code"] == "bug"
    assert "Leaking" in result["msg"]
    assert HUNT.in_value("the result", result) == []
