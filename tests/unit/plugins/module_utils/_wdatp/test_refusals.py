# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Entra ID has refused for good: asked for again less and less often, unless something has changed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp import connectivity
from ansible_collections.secops.defender.plugins.module_utils._wdatp.auth import Authenticator
from ansible_collections.secops.defender.plugins.module_utils._wdatp.config import Connection
from ansible_collections.secops.defender.plugins.module_utils._wdatp.errors import AuthError, TransportError, WdatpError
from ansible_collections.secops.defender.plugins.module_utils._wdatp.pull import Context
from ansible_collections.secops.defender.plugins.module_utils._wdatp.recent import recent
from ansible_collections.secops.defender.plugins.module_utils._wdatp.redact import Redactor
from ansible_collections.secops.defender.plugins.module_utils._wdatp.refusals import Refusals
from ansible_collections.secops.defender.plugins.module_utils._wdatp.runtime import Runtime
from ansible_collections.secops.defender.plugins.module_utils._wdatp.times import SECOND, now_ticks, parse_time
from ansible_collections.secops.defender.plugins.module_utils._wdatp.transport import Transport
from mock_api import MockTenant

WRONG = "wrong-secret-value-1"
Connect = Callable[..., Connection]


class Runs:
    """Runs on one host, each with a memory of its own, at a time that the test sets."""

    def __init__(self, directory: Path, tenant: MockTenant) -> None:
        self.directory = directory
        self.tenant = tenant
        self.now = 1000.0

    def runtime(self, **more: Any) -> Runtime:
        return Runtime([str(self.directory)], clock=lambda: self.now, **more)

    def token(self, connection: Connection, runtime: Runtime | None = None) -> WdatpError | None:
        """What one more run's request for a token ends with."""
        transport = Transport(replace(connection.http, retries=0), sleep=lambda seconds: None)
        try:
            Authenticator(connection, transport, Redactor(), runtime or self.runtime()).token()
        except WdatpError as error:
            return error
        return None

    @property
    def asked(self) -> int:
        """How often Entra ID was asked for a token."""
        return [entry["leg"] for entry in self.tenant.requests].count("token")


@pytest.fixture(autouse=True)
def same_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or two tags would be the same by chance, once in a long while."""
    monkeypatch.setattr("secrets.token_hex", lambda size: "00" * size)


@pytest.fixture
def runs(runtime_dir: Path, tenant: MockTenant) -> Runs:
    return Runs(runtime_dir, tenant)


def test_the_next_run_does_not_ask(runs: Runs, connection_to: Connect) -> None:
    connection = connection_to(client_secret=WRONG)
    first, second = runs.token(connection), runs.token(connection)
    assert isinstance(first, AuthError)
    assert isinstance(second, AuthError)
    assert runs.asked == 1
    assert (second.code, second.aadsts) == (first.code, first.aadsts) == ("auth.invalid_secret", 7000215)
    assert second.message.startswith(first.message)
    found = re.search(r" since (\S+) \(once\); the next attempt is made at (\S+)\.$", second.message)
    assert found is not None
    since, following = parse_time(found[1]), parse_time(found[2])
    assert abs(since - now_ticks()) < 10 * SECOND
    assert abs(following - since - 60 * SECOND) < 5 * SECOND
    assert second.remedy.startswith(first.remedy)
    assert "wdatp_test_connectivity tries at once" in second.remedy


def test_attempts_become_rarer(runs: Runs, connection_to: Connect) -> None:
    connection = connection_to(client_secret=WRONG)
    runs.token(connection)
    for number, wait in enumerate((60, 240, 960, 3600, 3600), 1):
        assert runs.asked == number
        runs.now += wait - 1
        error = runs.token(connection)
        assert runs.asked == number
        assert ("(once)" if number == 1 else f"({number} times)") in str(error)
        runs.now += 1
        assert isinstance(runs.token(connection), AuthError)
    assert runs.asked == 6


def test_who_keeps_asking_in_vain_does_not_put_the_next_attempt_off(runs: Runs, connection_to: Connect) -> None:
    connection = connection_to(client_secret=WRONG)
    for _number in range(7):
        runs.token(connection)
        runs.now += 10
    assert runs.asked == 2


def test_another_secret_is_tried_at_once(runs: Runs, connection_to: Connect) -> None:
    runs.token(connection_to(client_secret=WRONG))
    assert isinstance(runs.token(connection_to(client_secret="wrong-secret-value-2")), AuthError)
    assert runs.token(connection_to()) is None
    assert runs.asked == 3
    # And the wrong ones are still known.
    assert isinstance(runs.token(connection_to(client_secret=WRONG)), AuthError)
    assert runs.asked == 3


def test_another_api_is_another_question(tenant: MockTenant, runs: Runs, connection_to: Connect) -> None:
    tenant.configure(missing_resources=["https://graph.microsoft.com"])
    error = runs.token(connection_to())
    assert error is not None
    assert error.code == "auth.unknown_resource"
    assert runs.token(connection_to(api="mde_alerts")) is None
    assert runs.token(connection_to()) is not None
    assert runs.asked == 2


def test_a_changed_file_is_tried_at_once(
    tenant: MockTenant, runs: Runs, connection_to: Connect, tmp_path: Path
) -> None:
    """Of a certificate and of a workload's token."""
    path = tmp_path / "token"
    path.write_text("no.token.atall")
    federated = connection_to(client_secret=None, auth_method="workload_identity", federated_token_file=str(path))
    assert isinstance(runs.token(federated), AuthError)
    assert isinstance(runs.token(federated), AuthError)
    assert runs.asked == 1
    path.write_text(Path(tenant.federated_token_file).read_text())
    assert runs.token(federated) is None
    tenant.configure(app_disabled=True)
    certificate = connection_to(client_secret=None, client_certificate_path=tenant.client_certificate_path)
    assert isinstance(runs.token(certificate), AuthError)
    assert isinstance(runs.token(certificate), AuthError)
    assert runs.asked == 3


def test_success_removes_the_note(tenant: MockTenant, runs: Runs, connection_to: Connect) -> None:
    connection = connection_to(client_secret=WRONG)
    runs.token(connection)
    tenant.configure(secrets=[WRONG])
    runs.now += 60
    assert runs.token(connection) is None
    tenant.configure(secrets=[])
    runs.token(connection)
    assert "(once)" in str(runs.token(connection))
    assert runs.asked == 3


def test_the_connectivity_test_always_tries(tenant: MockTenant, runs: Runs, connection_to: Connect) -> None:
    connection = connection_to(client_secret=WRONG)
    runs.token(connection)

    def reachable(runtime: Runtime) -> bool:
        return connectivity.test(connection, Redactor(), runtime=runtime).reachable

    assert not reachable(runs.runtime(insists=True))
    assert runs.asked == 2
    assert "(2 times)" in str(runs.token(connection))
    tenant.configure(secrets=[WRONG])
    assert isinstance(runs.token(connection), AuthError)
    assert reachable(runs.runtime(insists=True))
    assert runs.token(connection) is None


@pytest.mark.parametrize(
    "fault", [{"aadsts": 90033}, {"aadsts": 50196}, {"status": 503}, {"html_200": True}, {"reset": True}]
)
def test_what_may_pass_is_asked_again(
    tenant: MockTenant, runs: Runs, connection_to: Connect, runtime_dir: Path, fault: dict[str, Any]
) -> None:
    tenant.set_faults([{"match": {"leg": "token", "times": 1}, "do": fault}])
    assert isinstance(runs.token(connection_to()), (AuthError, TransportError))
    assert list(runtime_dir.iterdir()) == []
    assert runs.token(connection_to()) is None


def test_check_mode_heeds_and_does_not_note(runs: Runs, connection_to: Connect, runtime_dir: Path) -> None:
    wrong, trial = connection_to(client_secret=WRONG), runs.runtime(check_mode=True)
    # Within the run it is known all the same.
    assert [isinstance(runs.token(wrong, trial), AuthError) for _number in range(3)] == [True] * 3
    assert runs.asked == 1
    assert list(runtime_dir.iterdir()) == []
    runs.token(wrong)
    before = [path.read_bytes() for path in runtime_dir.iterdir()]
    runs.token(wrong, runs.runtime(check_mode=True))
    assert runs.asked == 2
    runs.now += 60
    runs.token(wrong, runs.runtime(check_mode=True))
    assert runs.asked == 3
    assert [path.read_bytes() for path in runtime_dir.iterdir()] == before


def test_without_a_directory_a_run_knows_what_it_was_told(runs: Runs, connection_to: Connect) -> None:
    runtime = Runtime(clock=lambda: runs.now)
    wrong = connection_to(client_secret=WRONG)
    assert [isinstance(runs.token(wrong, runtime), AuthError) for _number in range(3)] == [True] * 3
    assert runs.asked == 1


def test_streams_of_one_run_ask_once(tenant: MockTenant, runs: Runs, tmp_path: Path) -> None:
    """The same credential under several names, in one lookup."""
    query = {
        "tenant_id": tenant.tenant_id,
        "client_id": tenant.client_id,
        "client_secret": WRONG,
        "api_url": tenant.url,
        "authority_url": tenant.url,
        "ca_path": tenant.ca_path,
        "config_dir": str(tmp_path),
        "since": "1h",
        "limit": 5,
        "max_bytes": 1000,
        "expand": True,
    }
    for _number in range(2):
        with pytest.raises(AuthError):
            recent([query, query], Context())
    assert runs.asked == 1


def test_a_managed_identity_has_nothing_that_could_change(
    runs: Runs, connection_to: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own refusals are noted, a metadata address that does not answer is not."""
    connection = connection_to(client_id=None, client_secret=None, auth_method="managed_identity")
    answers: list[Any] = [OSError(), {"error": "invalid_request"}, {"access_token": "a.b.c"}]

    class Client:
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            pass

        def acquire_token_for_client(self, **kwargs: Any) -> Any:
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

    monkeypatch.setattr("msal.ManagedIdentityClient", Client)
    for _number in range(4):
        assert isinstance(runs.token(connection), AuthError)
    assert len(answers) == 1
    runs.now += 60
    assert runs.token(connection) is None


# --- what the file holds ---------------------------------------------------------------------------------------------


def refusals(runs: Runs, connection: Connection) -> Refusals:
    return Refusals(runs.runtime().notebook(connection), now_ticks)


def test_nothing_in_the_file_proves_a_guess_right(runs: Runs, connection_to: Connect, runtime_dir: Path) -> None:
    connection = connection_to(client_secret=WRONG)
    runs.token(connection)
    (path,) = runtime_dir.iterdir()
    text = path.read_text()
    assert WRONG not in text
    (tag,) = json.loads(text.partition("\n")[2])["refusals"]
    # 16 bits: of 200,000 guesses, about three fit as well.
    assert re.fullmatch("[0-9a-f]{4}", tag)
    assert not re.search("[0-9a-f]{33}", text)


def test_parts_of_a_proof_are_not_run_together(runs: Runs, connection_to: Connect) -> None:
    one = refusals(runs, connection_to())
    one.add(lambda: [b"ab", b"c"], AuthError("No."))
    one.check(lambda: [b"a", b"bc"])
    with pytest.raises(AuthError):
        one.check(lambda: [b"ab", b"c"])


def test_only_the_latest_are_kept(runs: Runs, connection_to: Connect, runtime_dir: Path) -> None:
    one = refusals(runs, connection_to())
    for number in range(20):
        one.add(lambda number=number: [b"%d" % number], AuthError("No."))  # type: ignore[misc]
    (path,) = runtime_dir.iterdir()
    assert len(json.loads(path.read_text().partition("\n")[2])["refusals"]) == 8
    with pytest.raises(AuthError):
        one.check(lambda: [b"19"])
    one.check(lambda: [b"0"])


def test_after_a_day_without_attempts_it_begins_anew(runs: Runs, connection_to: Connect) -> None:
    connection = connection_to(client_secret=WRONG)
    runs.token(connection)
    runs.now += 90_000
    runs.token(connection)
    assert "(once)" in str(runs.token(connection))
