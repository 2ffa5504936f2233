# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A credential whose secret is in CyberArk, from its definition to the alerts, and through a rotation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from harness import PlaybookRunner
from pulls import (
    CREDENTIAL,
    LOOKUP,
    addresses,
    assert_delivered,
    assert_no_secret,
    assert_no_token,
    assert_no_traceback,
    defaults,
    pull,
    steer,
    to,
    truth,
)

if TYPE_CHECKING:
    from mock_api import MockTenant

TEST, INFO = "secops.defender.wdatp_test_connectivity", "secops.defender.wdatp_credential_info"
FIRST, SECOND = "Qx8~first/secret+value=&1", "Qx8~second/secret+value=&2"


@pytest.fixture
def vault(make_mock: Callable[..., MockTenant]) -> MockTenant:
    """A mock tenant with a CCP that wants a client certificate."""
    return make_mock(client_secret=FIRST, ccp={"client_certificate": "required", "app_id": "SIEM & co"})


def define(title: str, mock: MockTenant, cyberark: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    found = {**(mock.ccp or {}), **(cyberark or {})}
    return {
        "name": title,
        CREDENTIAL: {
            "name": "contoso",
            "tenant_id": mock.tenant_id,
            "organization": "Contoso",
            "cyberark": {name: value for name, value in found.items() if value is not None},
            **addresses(mock),
            **options,
        },
    }


def asked(mock: MockTenant, leg: str) -> list[int]:
    return [entry["status"] for entry in mock.requests if entry["leg"] == leg]


def test_define_pull_rotate_and_pull_again(
    run_playbook: PlaybookRunner, vault: MockTenant, config_dir: Path, state_dir: Path, tmp_path: Path
) -> None:
    path = tmp_path / "events.jsonl"
    group = {"config_dir": str(config_dir)}
    result = run_playbook(
        [
            define("Define", vault),
            define("Define again", vault),
            {"name": "List", INFO: {}},
            {"name": "Test", TEST: {"credential": "contoso"}},
            pull("Pull", credential="contoso", destinations=to(path)),
            steer("Rotate", vault, "config", "PUT", client_secret=SECOND),
            steer("Alerts", vault, "alerts", add=7),
            pull("Predict", _check=True, credential="contoso", destinations=to(path)),
            pull("Pull again", credential="contoso", destinations=to(path)),
            {
                "name": "Look up",
                "ansible.builtin.set_fact": {
                    "found": "{{ query('" + LOOKUP + "', 'contoso', config_dir='" + str(config_dir) + "', limit=3) }}"
                },
            },
        ],
        play=defaults(state_dir, **group),
        verbosity=4,
        diff=True,
    ).ok()
    defined = result["Define"].result["credential"]
    assert (defined["secret"], defined["client_id"]) == ("cyberark", None)
    assert defined["cyberark"]["app_id"] == "SIEM & co"
    assert defined["cyberark"]["webservice_id"] == "AIMWebService"
    assert result["Define"].result["diff"]["after"]["cyberark"] == defined["cyberark"]
    assert result["Define again"].result["changed"] is False
    assert result["List"].result["credentials"] == [defined]
    stages = {stage["name"]: stage for stage in result["Test"].result["stages"]}
    assert "by the client secret: CyberArk account (safe Defender, object wdatp-app)" in stages["token"]["detail"]
    assert result["Pull"].result["written"] == 1000
    assert result["Predict"].result["new"] == 7
    assert result["Pull again"].result["written"] == 7
    assert len(result["Look up"].result["ansible_facts"]["found"]) == 3
    assert_delivered(path, truth(vault))
    # Five times somebody wanted a token, and each time CCP and Entra ID were asked once.
    assert asked(vault, "ccp") == [200] * 5
    assert asked(vault, "token") == [200] * 5
    assert_no_secret(result, FIRST, SECOND)
    assert_no_token(result)
    kept = [item.read_bytes() for top in (config_dir, state_dir) for item in top.rglob("*") if item.is_file()]
    assert not any(secret.encode() in content for secret in (FIRST, SECOND) for content in kept)


def test_a_password_that_is_just_being_changed(
    run_playbook: PlaybookRunner, vault: MockTenant, config_dir: Path, state_dir: Path, tmp_path: Path
) -> None:
    """Entra ID takes another secret than the vault gave at first, which is asked once more."""
    path = tmp_path / "events.jsonl"
    old = {"Content": SECOND, "UserName": vault.client_id, "PasswordChangeInProcess": "True"}
    vault.set_faults([{"match": {"leg": "ccp", "times": 1}, "do": {"body": old}}])
    result = run_playbook(
        [define("Define", vault), pull("Pull", credential="contoso", destinations=to(path))],
        play=defaults(state_dir, config_dir=str(config_dir)),
        verbosity=4,
    ).ok()
    assert result["Pull"].result["written"] == 1000
    assert (asked(vault, "ccp"), asked(vault, "token")) == ([200, 200], [401, 200])
    assert_no_secret(result, FIRST, SECOND)


@pytest.mark.parametrize(
    ("cyberark", "code", "says"),
    [
        ({"app_id": "other"}, "cyberark.unknown_application", "(APPAP008E)"),
        ({"object": "other"}, "cyberark.not_found", "Retrieve accounts"),
        ({"webservice_id": "Other"}, "cyberark.no_service", "webservice_id"),
        ({"client_cert": None, "client_key": None}, "cyberark.certificate_refused", "403 - Forbidden"),
        ({"client_cert": "/nonexistent"}, "cyberark.client_cert", "/nonexistent"),
        ({"ca_path": None}, "network.tls_untrusted", "ca_path of the cyberark option"),
    ],
)
def test_what_is_in_the_way(
    run_playbook: PlaybookRunner,
    vault: MockTenant,
    config_dir: Path,
    state_dir: Path,
    cyberark: dict[str, Any],
    code: str,
    says: str,
) -> None:
    result = run_playbook(
        [
            define("Define", vault, cyberark),
            {"name": "Test", TEST: {"credential": "contoso"}, "ignore_errors": True},
            pull("Pull", credential="contoso", _ignore=True),
        ],
        play=defaults(state_dir, config_dir=str(config_dir)),
    ).ok()
    for name in ("Test", "Pull"):
        task = result[name]
        assert (task.status, task.result["error"]["code"]) == ("ignored", code)
        assert says in task.msg
    assert result["Test"].result["stages"][-1]["name"] == "token"
    assert asked(vault, "token") == []
    assert_no_secret(result, FIRST)
    assert_no_traceback(result)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"cyberark": {"safe": "a;b"}}, "CyberArk takes no semicolon there"),
        ({"cyberark": {"query": "Safe=x"}}, "query is given together with safe, object"),
        ({"cyberark": {"safe": None, "object": None}}, "nothing says which account is meant"),
        ({"cyberark": {"url": "http://ccp.example"}}, "url is no plain https address"),
        ({"cyberark": {"app_id": None}}, "missing required arguments: app_id found in cyberark"),
        ({"cyberark": {"query_format": "Glob"}}, "value of query_format must be one of: Exact, Regexp"),
        ({"client_secret": "x" * 20}, "client_secret is given together with cyberark"),
    ],
)
def test_nonsense_says_what_to_change(
    run_playbook: PlaybookRunner, vault: MockTenant, config_dir: Path, options: dict[str, Any], says: str
) -> None:
    result = run_playbook([define("Define", vault, config_dir=str(config_dir), **options)])
    assert result["Define"].status == "failed"
    assert says in result["Define"].msg
    assert not config_dir.exists()
    assert vault.requests == []
