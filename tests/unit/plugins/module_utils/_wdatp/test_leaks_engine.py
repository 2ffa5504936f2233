# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No secret leaves the engine: in no result, warning, error or what is behind it, file, argument or environment.

Here before anything is masked at the end of a module; what Ansible makes of it is in tests/integration/test_leaks.py.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp import (
    auth,
    connectivity,
    cyberark,
    sealing,
    store,
)
from ansible_collections.secops.defender.plugins.module_utils._wdatp.config import resolve_one
from ansible_collections.secops.defender.plugins.module_utils._wdatp.credentials import CredentialStore
from ansible_collections.secops.defender.plugins.module_utils._wdatp.definitions import define
from ansible_collections.secops.defender.plugins.module_utils._wdatp.errors import WdatpError
from ansible_collections.secops.defender.plugins.module_utils._wdatp.pull import Context, pull
from ansible_collections.secops.defender.plugins.module_utils._wdatp.recent import recent
from ansible_collections.secops.defender.plugins.module_utils._wdatp.redact import Redactor
from ansible_collections.secops.defender.plugins.module_utils._wdatp.runtime import runtime_of
from canaries import (
    CERTIFICATE_PASSWORD,
    CLIENT_SECRET,
    ENVIRONMENT_SECRET,
    FILE_SECRET,
    PROXY_PASSWORD,
    STORED_SECRET,
    WRONG_SECRET,
    Hunt,
)
from canary_tenant import SECRETS, config, locked_certificates, spied
from mock_api import MockProxy, MockTenant
from mock_api.faults import Fault
from mock_api.imds import MockImds
from mock_api.messages import Request, Response

NOBODY = "00000000-1111-2222-3333-444444444444"


@pytest.fixture(scope="module")
def hunt() -> Hunt:
    return Hunt(SECRETS)


@pytest.fixture(scope="module")
def spied_tenant(hunt: Hunt) -> Iterator[MockTenant]:
    """A mock tenant whose tokens and clients' assertions are hunted for as well."""
    with spied(hunt), MockTenant(config(ccp={})) as tenant:
        hunt.add("workload's token", Path(tenant.federated_token_file).read_text())
        hunt.add("private key", _key_body(Path(tenant.client_certificate_path)))
        yield tenant


def _key_body(path: Path) -> str:
    """The first lines of the key in a PEM file, which no other key shares."""
    text = path.read_text().partition("PRIVATE KEY-----\n")[2]
    return "".join(text.splitlines()[1:4])


class Scene:
    """Runs all that asks Microsoft with some options, and keeps all that came out of it."""

    def __init__(self, tenant: MockTenant, hunt: Hunt, directory: Path, patch: pytest.MonkeyPatch) -> None:
        self.tenant = tenant
        self.hunt = hunt
        self.directory = directory
        self.patch = patch
        self.meant: list[Path] = []
        self.codes: list[str] = []
        self.found: list[str] = []
        # Keeps what a way needs running until the test's end.
        self.enter: Callable[[Any], Any]
        self.known: dict[str, Any] = {
            "tenant_id": tenant.tenant_id,
            "client_id": tenant.client_id,
            "client_secret": CLIENT_SECRET,
            "api_url": tenant.url,
            "authority_url": tenant.url,
            "ca_path": tenant.ca_path,
            "config_dir": str(directory / "etc"),
            "timeout": 10,
            "retries": 0,
        }

    def store(self, **options: Any) -> dict[str, Any]:
        """A stored credential, and the options that name it."""
        names = ("tenant_id", "client_id", "api_url", "authority_url", "ca_path", "config_dir")
        given = {**{name: self.known[name] for name in names}, "secret_storage": "file", "name": "contoso", **options}
        try:
            outcomes = [define(given, check=check, notify=self._say) for check in (True, False, False)]
        except WdatpError as error:
            self._look_at(error)
            outcomes = []
        self.found += self.hunt.in_value("a definition", [vars(item) for item in outcomes])
        self.meant += (self.directory / "etc" / "secrets").glob("*.secret")
        stored = CredentialStore(self.known["config_dir"])
        self.found += self.hunt.in_value("its description", [item.describe() for item in stored.find()])
        self.found += self.hunt.in_text("its repr", repr([(item, item.secret_source()) for item in stored.find()]))
        away = dict.fromkeys(("tenant_id", "client_id", "client_secret", "api_url", "authority_url", "ca_path"))
        return {**away, "credential": "contoso"}

    def __call__(self, **options: Any) -> list[str]:
        """What was found; `codes` are those of the errors, in the order pull, test, recent."""
        given = {name: value for name, value in {**self.known, **options}.items() if value is not None}
        pulling = {"state_dir": str(self.directory / "lib"), "initial_lookback": "2d", "return_events": 5}
        for attempt in (
            lambda context: self._pull({**pulling, **given}, context),
            lambda context: self._test(given, context),
            lambda context: self._recent(given, context),
        ):
            try:
                attempt(Context(Redactor(), self._say))
            except WdatpError as error:
                self._look_at(error)
        kept = list(self.runtime.iterdir()) if options.get("token_cache") else []
        self.found += self.hunt.in_files(self.directory, self.runtime, but=[*self.meant, *kept])
        return self.found

    @property
    def runtime(self) -> Path:
        return Path(os.environ["WDATP_RUNTIME_DIR"])

    def _say(self, text: str) -> None:
        self.found += self.hunt.in_text("a warning", text)

    def _look_at(self, error: WdatpError) -> None:
        self.codes.append(error.code)
        self.found += self.hunt.in_error(error)
        shown = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        self.found += self.hunt.in_text("a traceback", shown)

    def _pull(self, options: dict[str, Any], context: Context) -> None:
        for more in ({}, {"reconcile": "report"}):
            report = pull({**options, **more}, context)
            self.found += self.hunt.in_value("a pull's result", report.to_dict())
            self.found += self.hunt.in_text("a pull's repr", repr(report))
            for stream in report.streams:
                if stream.error is not None:
                    self._look_at(stream.error)
            failure = report.failure()
            if failure is not None:
                self._look_at(failure)
                return

    def _test(self, options: dict[str, Any], context: Context) -> None:
        runtime = runtime_of(options, context.warn, insists=True)
        connection = resolve_one(options)
        report = connectivity.test(connection, context.redactor, context.warn, runtime)
        self.found += self.hunt.in_value("a test's result", report.to_dict())
        self.found += self.hunt.in_text("a connection's repr", repr(connection.identity))
        if report.error is not None:
            self._look_at(report.error)

    def _recent(self, options: dict[str, Any], context: Context) -> None:
        events = recent([{"since": "1d", "limit": 5, "max_bytes": 10**6, "expand": True, **options}], context)
        self.found += self.hunt.in_value("recent alerts", events)


@pytest.fixture
def scene(
    spied_tenant: MockTenant, hunt: Hunt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean_environment: None
) -> Iterator[Scene]:
    made = Scene(spied_tenant, hunt, tmp_path, monkeypatch)
    with ExitStack() as stack:
        made.enter = stack.enter_context
        yield made
    spied_tenant.set_faults([])
    spied_tenant.configure(roles={}, unconsented_tenants=[], expired_secrets=[], server_certificate="good")


# --- ways to give a secret -----------------------------------------------------------------------------------------


def _file(scene: Scene, name: str, content: bytes) -> str:
    path = scene.directory / name
    path.write_bytes(content)
    scene.meant.append(path)
    return str(path)


def given(scene: Scene) -> dict[str, Any]:
    return {}


def by_environment(scene: Scene) -> dict[str, Any]:
    scene.patch.setenv("WDATP_CLIENT_SECRET", ENVIRONMENT_SECRET)
    return {"client_secret": None}


def by_file(scene: Scene) -> dict[str, Any]:
    return scene.store(client_secret_file=_file(scene, "app.secret", FILE_SECRET.encode()))


def by_stored_credential(scene: Scene) -> dict[str, Any]:
    return scene.store(client_secret=STORED_SECRET)


def by_details_file(scene: Scene) -> dict[str, Any]:
    text = f"Tenant ID: {scene.tenant.tenant_id}\nClient ID: {scene.tenant.client_id}\nClient secret: {FILE_SECRET}\n"
    return scene.store(details_file=_file(scene, "details.txt", text.encode()), tenant_id=None, client_id=None)


def by_credential_of_the_unit(scene: Scene) -> dict[str, Any]:
    """As systemd hands it to a service."""
    options = scene.store(client_secret=WRONG_SECRET)
    loaded = _file(scene, "contoso.secret", json.dumps({"client_secret": STORED_SECRET}).encode())
    scene.patch.setenv("CREDENTIALS_DIRECTORY", os.path.dirname(loaded))
    return options


def by_pfx(scene: Scene) -> dict[str, Any]:
    return _certificate(_file(scene, "app.pfx", locked_certificates(scene.tenant)[0]))


def by_pem(scene: Scene) -> dict[str, Any]:
    return _certificate(_file(scene, "app.pem", locked_certificates(scene.tenant)[1]))


def _certificate(path: str) -> dict[str, Any]:
    return {
        "client_secret": None,
        "client_certificate_path": path,
        "client_certificate_password": CERTIFICATE_PASSWORD,
    }


def by_stored_certificate(scene: Scene) -> dict[str, Any]:
    return scene.store(**{name: value for name, value in by_pfx(scene).items() if value is not None})


def by_workload_identity(scene: Scene) -> dict[str, Any]:
    return {"client_secret": None, "federated_token_file": scene.tenant.federated_token_file}


def by_cyberark(scene: Scene) -> dict[str, Any]:
    scene.patch.setattr(cyberark, "_WAITS", ())
    return scene.store(cyberark=scene.tenant.ccp)


def by_managed_identity(scene: Scene) -> dict[str, Any]:
    imds = scene.enter(MockImds(scene.tenant))
    for name, value in imds.environment.items():
        scene.patch.setenv(name, value)
    return {"auth_method": "managed_identity", "client_id": None, "client_secret": None}


WAYS = (
    given,
    by_environment,
    by_file,
    by_stored_credential,
    by_details_file,
    by_credential_of_the_unit,
    by_pfx,
    by_pem,
    by_stored_certificate,
    by_workload_identity,
    by_cyberark,
    by_managed_identity,
)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_nothing_leaks_where_all_is_well(scene: Scene, way: Callable[[Scene], dict[str, Any]]) -> None:
    assert scene(**way(scene)) == []
    assert scene.codes == []


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_nothing_leaks_where_everything_that_was_sent_comes_back(
    scene: Scene, way: Callable[[Scene], dict[str, Any]]
) -> None:
    """Something on the way answers with all that it got, the secret and the token among it."""
    options = way(scene)
    scene.tenant.set_faults([{"match": {"leg": "token"}, "do": {"status": 400, "echo": True, "body": "{sent}"}}])
    assert scene(**options) == []
    scene.tenant.set_faults([{"match": {"leg": "api"}, "do": {"echo": True, "body": "{sent}"}}])
    assert scene(**options) == []
    assert "network.not_json" in scene.codes


@pytest.mark.parametrize("leg", ["token", "api"])
@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize(
    "body",
    [
        "{sent}",
        '{"error":{"code":"{sent}","message":"{sent}"}}',
        '{"error":"invalid_request","error_description":"{sent}"}',
        '{"error":"{sent}"}',
        '{"value":"{sent}"}',
    ],
)
def test_a_secret_that_is_cut_off_is_still_hidden(scene: Scene, leg: str, status: int, body: str) -> None:
    """Texts from outside are shown short: cut in the middle of a secret, it must not stay behind."""
    for length in range(0, 340, 40):
        text = body.replace("{sent}", "." * length + "{sent}")
        scene.tenant.set_faults([{"match": {"leg": leg}, "do": {"status": status, "echo": True, "body": text}}])
        connection = resolve_one(scene.known)
        report = connectivity.test(connection, Redactor(), runtime=None)
        assert report.error is not None
        assert scene.hunt.in_error(report.error) + scene.hunt.in_value("the stages", report.to_dict()) == []


# --- faults --------------------------------------------------------------------------------------------------------


def faults(*rules: dict[str, Any]) -> Callable[[Scene], dict[str, Any]]:
    def prepare(scene: Scene) -> dict[str, Any]:
        scene.tenant.set_faults(list(rules))
        return {}

    return prepare


def knobs(**turned: Any) -> Callable[[Scene], dict[str, Any]]:
    def prepare(scene: Scene) -> dict[str, Any]:
        scene.tenant.configure(**turned)
        return {}

    return prepare


def options(**changed: Any) -> Callable[[Scene], dict[str, Any]]:
    return lambda scene: changed


def _expired(scene: Scene) -> dict[str, Any]:
    scene.tenant.configure(expired_secrets=[WRONG_SECRET])
    return {"client_secret": WRONG_SECRET}


def _no_consent(scene: Scene) -> dict[str, Any]:
    scene.tenant.configure(unconsented_tenants=[scene.tenant.tenant_id])
    return {}


def _refused(scene: Scene) -> dict[str, Any]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return {"api_url": f"https://127.0.0.1:{free.getsockname()[1]}"}


def _wrong_pfx_password(scene: Scene) -> dict[str, Any]:
    return {**by_pfx(scene), "client_certificate_password": WRONG_SECRET}


def _broken_secrets_file(scene: Scene) -> dict[str, Any]:
    named = scene.store(client_secret=STORED_SECRET)
    path = next((scene.directory / "etc" / "secrets").glob("*.secret"))
    path.write_text(path.read_text()[:-2])
    return named


def _secret_of_several_lines(scene: Scene) -> dict[str, Any]:
    return scene.store(client_secret_file=_file(scene, "app.secret", f"{FILE_SECRET}\n{STORED_SECRET}\n".encode()))


def _secret_that_is_no_text(scene: Scene) -> dict[str, Any]:
    return scene.store(client_secret_file=_file(scene, "app.secret", FILE_SECRET.encode("latin-1")))


def _details_that_are_no_text(scene: Scene) -> dict[str, Any]:
    return scene.store(details_file=_file(scene, "details.txt", f"Client secret: {FILE_SECRET}".encode("latin-1")))


def _cyberark_breaks_off(scene: Scene) -> dict[str, Any]:
    named = by_cyberark(scene)
    scene.tenant.set_faults([{"match": {"leg": "ccp"}, "do": {"bad_json": True}}])
    return named


def _cyberark_fails(scene: Scene) -> dict[str, Any]:
    named = by_cyberark(scene)
    scene.tenant.set_faults([{"match": {"leg": "ccp"}, "do": {"status": 500, "body": f"failed with {CLIENT_SECRET}"}}])
    return named


def _store_in_use(scene: Scene) -> dict[str, Any]:
    pull({**scene.known, "state_dir": str(scene.directory / "lib")}, Context())
    scene.patch.setattr("fcntl.flock", _always_busy)
    scene.patch.setattr(store, "_LOCK_SECONDS", 0.0)
    return {}


def _always_busy(*args: Any) -> None:
    raise BlockingIOError


def _store_is_corrupt(scene: Scene) -> dict[str, Any]:
    (scene.directory / "lib").mkdir()
    (scene.directory / "lib" / "state.db").write_bytes(b"no database" * 500)
    return {}


def _disk_is_full(scene: Scene) -> dict[str, Any]:
    def full(*args: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    scene.patch.setattr("os.fsync", _no_space)
    return {"destinations": [{"path": str(scene.directory / "out.jsonl"), "format": "raw", "type": "file"}]}


def _no_space(*args: Any) -> None:
    raise OSError(28, "No space left on device")


def _no_destination(scene: Scene) -> dict[str, Any]:
    return {"destinations": [{"path": str(scene.directory / "none" / "out.jsonl"), "format": "raw", "type": "file"}]}


FAULTS: dict[str, tuple[str, Callable[[Scene], dict[str, Any]]]] = {
    "wrong secret": ("auth.invalid_secret", options(client_secret=WRONG_SECRET)),
    "expired secret": ("auth.expired_secret", _expired),
    "unknown tenant": ("auth.unknown_tenant", options(tenant_id=NOBODY)),
    "no consent": ("auth", _no_consent),
    "no permission": ("api.forbidden", knobs(roles={"graph": []})),
    "wrong password of the certificate": ("credential.certificate", _wrong_pfx_password),
    "broken secrets' file": ("credential.broken", _broken_secrets_file),
    "secret of several lines": ("credential.secret_file", _secret_of_several_lines),
    "secret that is no text": ("credential.secret_file", _secret_that_is_no_text),
    "details that are no text": ("credential", _details_that_are_no_text),
    "half an answer of CyberArk's": ("cyberark", _cyberark_breaks_off),
    "an answer of CyberArk's that is none": ("cyberark", _cyberark_fails),
    "no such name": ("network.dns", options(api_url="https://nowhere.invalid")),
    "connection refused": ("network", _refused),
    "untrusted certificate": ("network.tls", options(ca_path=None)),
    "expired certificate": ("network.tls", knobs(server_certificate="expired")),
    "a page instead of a token": ("network.not_entra", faults({"match": {"leg": "token"}, "do": {"html_200": True}})),
    "a page instead of alerts": ("network", faults({"match": {"leg": "api"}, "do": {"html_200": True}})),
    "half a token": ("network.not_entra", faults({"match": {"leg": "token"}, "do": {"bad_json": True}})),
    "half a page": ("network.not_json", faults({"match": {"leg": "api"}, "do": {"bad_json": True}})),
    "the connection breaks": ("network", faults({"do": {"reset": True}})),
    "redirect": ("api.redirect", faults({"match": {"leg": "api"}, "do": {"status": 302, "body": ""}})),
    "throttled": ("api.throttled", faults({"match": {"leg": "api"}, "do": {"status": 429, "retry_after": 999}})),
    "token refused": ("api.unauthorized", faults({"match": {"leg": "api"}, "do": {"status": 401}})),
    "challenge": ("api.unauthorized", faults({"match": {"leg": "api"}, "do": {"claims_challenge": True}})),
    "store is corrupt": ("store", _store_is_corrupt),
    "store is in use": ("store.busy", _store_in_use),
    "disk is full": ("", _disk_is_full),
    "no destination": ("destination", _no_destination),
}


@pytest.mark.parametrize(("code", "prepare"), FAULTS.values(), ids=FAULTS)
def test_nothing_leaks_where_something_fails(
    scene: Scene, code: str, prepare: Callable[[Scene], dict[str, Any]]
) -> None:
    assert scene(**prepare(scene)) == []
    assert any(found.startswith(code) for found in scene.codes), scene.codes


# --- proxies -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["tunnel", "login_page", "forbidden", "negotiate", "wrong password"])
@pytest.mark.parametrize("way", ["option", "environment", "stored"])
def test_proxys_password_leaks_nowhere(scene: Scene, mode: str, way: str) -> None:
    name, password = "carl", "another one" if mode == "wrong password" else PROXY_PASSWORD
    with MockProxy(name, password, "tunnel" if mode == "wrong password" else mode) as proxy:
        url = f"http://carl:{quote(PROXY_PASSWORD, safe='')}@{proxy.address}"
        if way == "environment":
            scene.patch.setenv("HTTPS_PROXY", url)
        named = scene.store(client_secret=STORED_SECRET, proxy=url) if way == "stored" else {}
        assert scene(**({"proxy": url} if way == "option" else named)) == []
        assert bool(scene.codes) == (mode != "tunnel")


def test_proxys_password_that_comes_back_leaks_nowhere(scene: Scene) -> None:
    """An API never gets it, but what is on the way may speak of it, whoever named the proxy."""
    with MockProxy("carl", PROXY_PASSWORD) as proxy:
        scene.patch.setenv("HTTPS_PROXY", proxy.url)
        body = f"<html>{proxy.url} {PROXY_PASSWORD}"
        scene.tenant.set_faults([{"match": {"leg": "api"}, "do": {"status": 403, "body": body}}])
        assert scene() == []
        assert "api.forbidden" in scene.codes


def test_addresses_that_are_refused_show_no_password(scene: Scene) -> None:
    for option in ("api_url", "authority_url", "proxy"):
        for scheme in ("https://", "ftp://"):
            address = f"{scheme}carl:{quote(PROXY_PASSWORD, safe='')}@127.0.0.1:1"
            assert scene(**{option: address}) == []


# --- what stays on the host ----------------------------------------------------------------------------------------


def test_moment_that_is_put_aside_keeps_no_secret(scene: Scene) -> None:
    """The store remembers why an alert could not be read, in the words of what answered."""

    def say_all(fault: Fault, request: Request, *args: Any) -> Response:
        return Response(200, request.header("Authorization").encode(), {"Content-Type": "text/plain"})

    scene.patch.setattr(Fault, "_error", say_all)
    alert_id = [alert_id for alert_id, _time, _row in scene.tenant.alerts("graph_alerts")][6]
    scene.tenant.set_faults([{"match": {"leg": "api"}, "do": {"poison": alert_id}}])
    options = {**scene.known, "state_dir": str(scene.directory / "lib"), "initial_lookback": "2d"}
    report = pull(options, Context(Redactor(), scene._say))
    assert report.to_dict()["quarantined"] == 1
    assert scene.hunt.in_files(scene.directory, scene.runtime) + scene.found == []


def test_program_that_encrypts_gets_the_secret_by_its_input_only(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A false systemd-creds, which notes its arguments and environment and gives back what it reads."""
    place = tmp_path / "bin"
    place.mkdir()
    program, seen = place / "systemd-creds", tmp_path / "seen"
    notes = f'for word; do echo "$word"; done >>{seen}\nenv >>{seen}'
    program.write_text(f'#!/bin/sh\nPATH=/usr/bin:/bin\n{notes}\n[ "$1" = encrypt ] && exec cat\nexec cat "$3"\n')
    program.chmod(0o755)
    monkeypatch.setattr(sealing, "_PLACES", str(place))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("WDATP_CLIENT_SECRET", ENVIRONMENT_SECRET)
    # What the false program makes is not encrypted.
    sealed = tmp_path / "etc" / "secrets" / "contoso.cred"
    scene.meant.append(sealed)
    named = scene.store(client_secret=STORED_SECRET, secret_storage="systemd_creds")
    assert sealed.exists()
    assert scene(**named) == []
    assert "--name=contoso.secret" in seen.read_text()


def test_files_of_a_run_that_failed_hold_no_token(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run dies in the middle: what it leaves behind is what it wrote until then."""

    class Died(BaseException):
        pass

    def die(*args: Any, **named: Any) -> None:
        raise Died

    monkeypatch.setattr("os.fsync", die)
    with pytest.raises(Died) as caught:
        scene()
    assert scene.hunt.in_error(caught.value) + scene.hunt.in_files(scene.directory, scene.runtime) == []


def test_kept_token_is_in_its_own_file_and_nowhere_else(scene: Scene) -> None:
    """With token_cache: also one that this run has not asked for is known, should it come back."""
    assert scene(token_cache=True) == []
    scene.tenant.clear_requests()
    scene.tenant.set_faults([{"match": {"leg": "api"}, "do": {"status": 403, "echo": True, "body": "<p>{sent}"}}])
    assert scene(token_cache=True) == []
    assert "api.forbidden" in scene.codes
    # The connectivity test always asks anew.
    assert len([entry for entry in scene.tenant.requests if entry["leg"] == "token"]) == 1
    (kept,) = scene.runtime.iterdir()
    assert {found.split(" in ")[0] for found in scene.hunt.in_files(kept)} == {"access token"}
    assert kept.stat().st_mode & 0o777 == 0o600


def test_tokens_have_no_readable_repr(scene: Scene) -> None:
    connection = resolve_one(scene.known)
    transport = connectivity.Transport(connection.http)
    one = auth.Authenticator(connection, transport, Redactor()).token()
    assert scene.hunt.in_text("it", repr(one)) == []
    assert scene.hunt.in_text("the connection", repr(connection)) == []
