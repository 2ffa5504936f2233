# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole pulls with the secret in CyberArk: rotated between two runs, in mid-drain, wrong for good, out of reach."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp import connectivity, cyberark, pull
from ansible_collections.secops.defender.plugins.module_utils._wdatp.config import resolve, resolve_one
from ansible_collections.secops.defender.plugins.module_utils._wdatp.definitions import define
from ansible_collections.secops.defender.plugins.module_utils._wdatp.pull import Context
from ansible_collections.secops.defender.plugins.module_utils._wdatp.recent import recent
from ansible_collections.secops.defender.plugins.module_utils._wdatp.redact import Redactor
from fault_job import DATA, Job, reset
from mock_api import MockTenant, TenantConfig

FIRST, SECOND, THIRD = "Qx8~first/secret+1", "Qx8~second/secret+2", "Qx8~third/secret+3"
INLINE = ("tenant_id", "client_id", "client_secret", "api_url", "authority_url", "ca_path")


@pytest.fixture(scope="module")
def running() -> Iterator[MockTenant]:
    with MockTenant(TenantConfig(**DATA, tenants=2, ccp={})) as tenant:
        yield tenant


@pytest.fixture
def vault(running: MockTenant, clean_environment: None, monkeypatch: pytest.MonkeyPatch) -> MockTenant:
    reset(running, tenants=2, ccp={}, client_secret=FIRST)
    monkeypatch.setattr(cyberark, "_WAITS", (0.0, 0.0))
    monkeypatch.setattr(cyberark, "_CHANGE_SECONDS", 0.0)
    # Or two tags of refused secrets would be the same by chance, once in a long while.
    monkeypatch.setattr("secrets.token_hex", lambda size: "00" * size)
    return running


@pytest.fixture
def job(vault: MockTenant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    """Pulls of the stored credential `contoso`, whose secret is in CyberArk."""

    def use(made: Job) -> None:
        monkeypatch.setattr(pull, "Transport", made.transport)
        monkeypatch.setattr(pull, "runtime_of", made.runtime)

    store(vault, tmp_path)
    stored = dict.fromkeys(INLINE)
    return Job(vault, tmp_path, use, credential="contoso", page_size=10, **stored)


def store(vault: MockTenant, directory: Path, **options: Any) -> None:
    define(
        {
            "name": "contoso",
            "config_dir": str(directory / "etc"),
            "tenant_id": vault.tenant_id,
            "cyberark": vault.ccp,
            "api_url": vault.url,
            "authority_url": vault.url,
            "ca_path": vault.ca_path,
            **options,
        },
        environ={},
    )


def asked(vault: MockTenant, leg: str) -> list[int]:
    """The statuses of all requests of one leg."""
    return [entry["status"] for entry in vault.requests if entry["leg"] == leg]


def in_mid_drain(job: Job, vault: MockTenant, change: Callable[[], None]) -> None:
    """Before the second page something changes, and the token is not taken any more."""

    def before(number: int) -> None:
        if number == 2:
            change()

    vault.set_faults([{"match": {"leg": "api", "n": 2}, "do": {"status": 401}}])
    job.before = before


def account(vault: MockTenant, **properties: Any) -> None:
    known = {"Safe": "Defender", "Object": "wdatp-app", "UserName": vault.client_id}
    vault.configure(ccp={"accounts": [{**known, **properties}]})


def test_a_pull_by_the_account(vault: MockTenant, job: Job, tmp_path: Path, runtime_dir: Path) -> None:
    """User name and password of the account are client ID and secret, and the secret is written nowhere."""
    result = job.run()
    assert (result["written"], result["complete"]) == (40, True)
    assert (asked(vault, "ccp"), asked(vault, "token")) == ([200], [200])
    (token,) = (entry for entry in vault.requests if entry["leg"] == "token")
    assert token["form"]["client_id"] == vault.client_id
    written = b"".join(
        path.read_bytes() for top in (tmp_path, runtime_dir) for path in top.rglob("*") if path.is_file()
    )
    assert FIRST.encode() not in written
    assert FIRST not in json.dumps(result) + "".join(job.said)


def test_the_redactor_knows_the_secret_at_once(vault: MockTenant, job: Job) -> None:
    context = job.context
    query = {**{name: value for name, value in job.options.items() if value is not None}, "since": "1h", "limit": 5}
    recent([{**query, "max_bytes": 1000, "expand": True}], context)
    assert context.redactor.text(f"{FIRST} Qx8~first%2Fsecret%2B1") == "******** ********"


def test_a_given_client_id_outweighs_the_user_name(vault: MockTenant, job: Job, tmp_path: Path) -> None:
    account(vault, UserName="svc-wdatp")
    assert job.fail()[1].code == "cyberark.user_name"
    store(vault, tmp_path, client_id=vault.client_id)
    assert job.run()["written"] == 40


@pytest.mark.parametrize("given", [True, False])
def test_rotated_between_two_runs(vault: MockTenant, job: Job, tmp_path: Path, given: bool) -> None:
    if given:
        store(vault, tmp_path, client_id=vault.client_id)
    job.run()
    vault.configure(client_secret=SECOND)
    vault.add_alerts(3)
    vault.clear_requests()
    assert job.run()["written"] == 3
    assert (asked(vault, "ccp"), asked(vault, "token")) == ([200], [200])


@pytest.mark.parametrize("is_expired", [False, True])
def test_rotated_in_mid_drain(vault: MockTenant, job: Job, is_expired: bool) -> None:
    """AADSTS7000215, or AADSTS7000222 where Entra ID still knows the old secret: CCP is asked once more."""

    def rotate() -> None:
        vault.configure(client_secret=SECOND, expired_secrets=[FIRST] if is_expired else [])

    in_mid_drain(job, vault, rotate)
    result = job.run()
    assert (result["written"], result["complete"]) == (40, True)
    assert asked(vault, "ccp") == [200, 200]
    assert asked(vault, "token") == [200, 401, 200]
    assert [entry.get("aadsts") for entry in vault.requests if entry["leg"] == "token"] == [
        None,
        7000222 if is_expired else 7000215,
        None,
    ]


def test_rotated_in_mid_drain_after_another_run_was_refused(vault: MockTenant, job: Job) -> None:
    """What this run holds is noted as refused already: Entra ID is asked only with the new secret."""

    def rotate() -> None:
        vault.configure(client_secret=SECOND)
        old = {
            "tenant_id": vault.tenant_id,
            "client_id": vault.client_id,
            "client_secret": FIRST,
            "api_url": vault.url,
            "authority_url": vault.url,
            "ca_path": vault.ca_path,
        }
        assert not connectivity.test(resolve_one(old, {}), Redactor(), runtime=job.runtime({}, print)).reachable
        vault.clear_requests()

    in_mid_drain(job, vault, rotate)
    store(vault, Path(job.options["config_dir"]).parent, client_id=vault.client_id)
    assert job.run()["complete"]
    assert (asked(vault, "ccp"), asked(vault, "token")) == ([200], [200])


def test_a_secret_that_stays_wrong_is_asked_for_twice_and_tried_once(vault: MockTenant, job: Job) -> None:
    account(vault, Content=THIRD)
    _result, error = job.fail()
    assert error.code == "auth.invalid_secret"
    assert "CyberArk account (safe Defender, object wdatp-app) for the application wdatp" in error.message
    assert (asked(vault, "ccp"), asked(vault, "token")) == ([200, 200], [401])
    # The waits after refusals count for it, but not for a new one in the vault.
    vault.clear_requests()
    _result, error = job.fail()
    assert " since 20" in error.message
    assert asked(vault, "token") == []
    account(vault, Content=FIRST)
    assert job.run()["written"] == 40
    assert asked(vault, "token") == [200]


def test_a_new_secret_that_is_refused_too_ends_it(vault: MockTenant, job: Job) -> None:
    """Exactly once: no third try, whatever the vault has by then."""
    answers = [{"Content": text, "UserName": vault.client_id} for text in (SECOND, THIRD)]
    vault.set_faults([{"match": {"leg": "ccp", "times": 1}, "do": {"body": body}} for body in answers])
    assert job.fail()[1].code == "auth.invalid_secret"
    assert (asked(vault, "ccp"), asked(vault, "token")) == ([200, 200], [401, 401])
    assert job.run()["written"] == 40


@pytest.mark.parametrize("state", [True, "True"])
def test_a_password_that_is_being_changed(vault: MockTenant, job: Job, state: Any) -> None:
    """The old one is used; where Entra ID refuses it, the new one is there by then."""
    old = {"Content": SECOND, "UserName": vault.client_id, "PasswordChangeInProcess": state}
    vault.set_faults([{"match": {"leg": "ccp", "times": 1}, "do": {"body": old}}])
    assert job.run()["written"] == 40
    assert (asked(vault, "ccp"), asked(vault, "token")) == ([200, 200], [401, 200])
    account(vault, Content=FIRST, PasswordChangeInProcess=state)
    vault.clear_requests()
    job.run()
    assert (asked(vault, "ccp"), asked(vault, "token")) == ([200], [200])


def test_a_user_name_that_is_put_right_is_tried_at_once(vault: MockTenant, job: Job) -> None:
    account(vault, UserName="00000000-0000-4000-8000-000000000000")
    assert job.fail()[1].code == "auth.unknown_app"
    assert " since 20" in job.fail()[1].message
    account(vault)
    assert job.run()["written"] == 40
    # A refusal that no new secret could heal does not ask CCP again.
    assert asked(vault, "ccp") == [200, 200, 200]


def test_out_of_reach(vault: MockTenant, job: Job) -> None:
    vault.set_faults([{"match": {"leg": "ccp"}, "do": {"ccp_error": "APPAP007E"}}])
    result, error = job.fail()
    assert error.code == "cyberark.vault_unreachable"
    assert result["streams"][0]["error"]["remedy"] == error.remedy
    assert (asked(vault, "ccp"), asked(vault, "token")) == ([400, 400, 400], [])
    vault.set_faults([])
    assert job.run()["written"] == 40


def test_out_of_reach_just_when_a_secret_is_refused(vault: MockTenant, job: Job) -> None:
    account(vault, Content=THIRD)
    vault.set_faults([{"match": {"leg": "ccp", "from": 2}, "do": {"ccp_error": "APPAP004E"}}])
    assert job.fail()[1].code == "cyberark.not_found"
    assert (asked(vault, "ccp"), asked(vault, "token")) == ([200, 404], [401])


def test_many_tenants_share_what_ccp_said(vault: MockTenant, job: Job, tmp_path: Path) -> None:
    tenants = [
        {"tenant_id": item["tenant_id"], "organization": f"Customer {number}"}
        for number, item in enumerate(vault.tenants)
    ]
    store(vault, tmp_path, tenant_id=None, tenants=tenants)
    assert job.run()["written"] == 80
    assert (asked(vault, "ccp"), asked(vault, "token")) == ([200], [200, 200])
    account(vault, Content=THIRD)
    vault.clear_requests()
    assert [item["error"]["code"] for item in job.fail()[0]["streams"]] == ["auth.invalid_secret"] * 2
    assert (asked(vault, "ccp"), asked(vault, "token")) == ([200, 200], [401, 401])


# --- the connectivity test --------------------------------------------------------------------------------------------


def report(job: Job) -> connectivity.Report:
    options = {name: value for name, value in job.options.items() if value is not None}
    (connection,) = resolve(options)
    return connectivity.test(connection, Redactor(), runtime=job.runtime({}, print, False, True))


def test_the_test_says_where_the_secret_is(vault: MockTenant, job: Job) -> None:
    found = report(job)
    assert found.reachable
    details = {stage.name: stage.detail for stage in found.stages}
    host = (vault.ccp or {})["url"].removeprefix("https://")
    where = f"CyberArk account (safe Defender, object wdatp-app) for the application wdatp, from {host}"
    assert details["token"].endswith(f", by the client secret: {where}")
    assert FIRST not in json.dumps(found.to_dict())


@pytest.mark.parametrize(
    ("do", "code", "remedy"),
    [
        ({"ccp_error": "APPAP306E"}, "cyberark.not_authenticated", "Allowed machines"),
        ({"ccp_error": "APPAP004E"}, "cyberark.not_found", "Retrieve accounts"),
        ({"html_200": True}, "cyberark.not_ccp", "webservice_id"),
        ({"reset": True}, "network.broken", "client_cert"),
    ],
)
def test_the_test_ends_at_the_token(vault: MockTenant, job: Job, do: dict[str, Any], code: str, remedy: str) -> None:
    vault.set_faults([{"match": {"leg": "ccp"}, "do": do}])
    found = report(job)
    assert [stage.name for stage in found.stages if not stage.ok] == ["token"]
    assert found.error is not None
    assert found.error.code == code
    assert remedy in found.stages[-1].remedy


def test_the_test_names_the_app_that_lacks_a_permission(vault: MockTenant, job: Job) -> None:
    vault.configure(roles={"graph": []})
    found = report(job)
    assert (found.stages[-1].name, vault.client_id in found.stages[-1].detail) == ("permissions", True)


def test_check_mode_asks_as_well(vault: MockTenant, job: Job) -> None:
    trial = Context(Redactor(), job.said.append, check_mode=True)
    given = {name: value for name, value in job.options.items() if value is not None}
    assert pull.pull(given, trial).to_dict()["new"] == 40
    assert asked(vault, "ccp") == [200]
