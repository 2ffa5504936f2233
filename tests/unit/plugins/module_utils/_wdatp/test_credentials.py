# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp.config import resolve
from ansible_collections.secops.defender.plugins.module_utils._wdatp.credentials import (
    SCHEMA,
    CredentialStore,
    Tenant,
    check_client_id,
    check_name,
    check_tenant_id,
    join_proxy,
    listing,
    split_proxy,
)
from ansible_collections.secops.defender.plugins.module_utils._wdatp.definitions import Outcome, define
from ansible_collections.secops.defender.plugins.module_utils._wdatp.errors import CredentialError, OptionError

TENANT, OTHER = "0f3c1f6e-8f2b-4f5e-9d6b-1c2d3e4f5a6b", "4b0d7a52-3c1e-4e8f-a7d9-5b6c7d8e9f01"
CLIENT = "6d5c4b3a-2f1e-4d0c-8b9a-7f6e5d4c3b2a"
SECRET, NEW_SECRET = "Qx8~first/secret+value=", "Qx8~second/secret+value="
ROOT_SEES_ALL = pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")


@pytest.fixture
def etc(tmp_path: Path) -> str:
    return str(tmp_path / "etc")


@pytest.fixture
def store(etc: str) -> CredentialStore:
    return CredentialStore(etc)


class Defining:
    """Defines credentials in one store, with an environment that the test says."""

    def __init__(self, config_dir: str) -> None:
        self.config_dir = config_dir
        self.warnings: list[str] = []

    def __call__(self, name: str = "contoso", check: bool = False, environ: Any = None, **options: Any) -> Outcome:
        given = {"tenant_id": TENANT, "client_id": CLIENT, "update_secret": "always", **options}
        return define(
            {"name": name, "config_dir": self.config_dir, **given},
            check=check,
            notify=self.warnings.append,
            environ=environ or {},
        )


@pytest.fixture
def defining(etc: str) -> Defining:
    return Defining(etc)


def mode(path: str | Path) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def all_bytes(directory: str) -> bytes:
    return b"".join(path.read_bytes() for path in Path(directory).rglob("*") if path.is_file())


# --- what is stored, and where


def test_a_secret_lies_apart_and_only_its_owner_reads_it(defining: Defining, store: CredentialStore) -> None:
    outcome = defining(client_secret=SECRET)
    assert outcome.changed
    assert outcome.path == store.definition_path("contoso")
    assert SECRET not in Path(outcome.path).read_text("utf-8")
    assert mode(outcome.path) == 0o640
    assert mode(store.secrets_path("contoso")) == 0o600
    assert mode(os.path.dirname(store.secrets_path("contoso"))) == 0o700
    assert store.load("contoso").secret_source().read() == SECRET


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o277])
def test_modes_do_not_depend_on_the_umask(defining: Defining, store: CredentialStore, umask: int) -> None:
    before = os.umask(umask)
    try:
        # With a umask that takes the owner's own rights, nobody but root could go on.
        if umask != 0o277 or os.geteuid() == 0:
            defining(client_secret=SECRET)
    finally:
        os.umask(before)
    if os.path.exists(store.config_dir):
        assert mode(store.config_dir) == 0o750
        assert mode(store.definition_path("contoso")) == 0o640
        assert mode(store.secrets_path("contoso")) == 0o600


def test_no_moment_at_which_others_could_read_the_secret(defining: Defining, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[str, int]] = []
    real_open = os.open

    def watch(path: Any, flags: int, given_mode: int = 0o777, **more: Any) -> int:
        descriptor = real_open(path, flags, given_mode, **more)
        if flags & os.O_CREAT:
            opened.append((str(path), stat.S_IMODE(os.fstat(descriptor).st_mode)))
        return descriptor

    monkeypatch.setattr(os, "open", watch)
    before = os.umask(0)
    try:
        defining(client_secret=SECRET)
    finally:
        os.umask(before)
    assert len(opened) == 2
    assert {created for _path, created in opened} == {0o600}


def test_nothing_is_left_where_writing_fails(
    defining: Defining, store: CredentialStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    defining(client_secret=SECRET)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CredentialError, match="No space left on device"):
        defining(client_secret=NEW_SECRET)
    monkeypatch.undo()
    assert store.load("contoso").secret_source().read() == SECRET
    assert [path.name for path in Path(store.config_dir).rglob(".*")] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_what_root_makes_belongs_to_the_owner_of_the_directory(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    os.chown(own, 4321, 8765)
    Defining(str(own))(client_secret=SECRET)
    made = list(own.rglob("*"))
    assert len(made) == 4
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(4321, 8765)}


def test_a_file_of_the_users_is_only_pointed_to(defining: Defining, store: CredentialStore, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n", "utf-8")
    outcome = defining(client_secret_file=str(file))
    assert outcome.credential["secret"] == "client_secret_file"
    assert SECRET.encode() not in all_bytes(store.config_dir)
    assert store.load("contoso").secret_source().read() == SECRET
    file.write_text(NEW_SECRET, "utf-8")
    assert store.load("contoso").secret_source().read() == NEW_SECRET


def test_a_secret_from_the_environment_is_not_stored(
    defining: Defining, store: CredentialStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = defining(environ={"WDATP_CLIENT_SECRET": SECRET})
    assert outcome.credential["secret"] == "none"
    assert SECRET.encode() not in all_bytes(store.config_dir)
    monkeypatch.setenv("WDATP_CLIENT_SECRET", SECRET)
    assert store.load("contoso").secret_source().read() == SECRET
    monkeypatch.delenv("WDATP_CLIENT_SECRET")
    with pytest.raises(CredentialError, match="WDATP_CLIENT_SECRET"):
        store.load("contoso").secret_source().read()


def test_a_proxys_password_is_a_secret(defining: Defining, store: CredentialStore) -> None:
    outcome = defining(client_secret=SECRET, proxy="http://carl:p%40ss-word@proxy.example:3128")
    assert outcome.credential["proxy"] == "http://carl@proxy.example:3128"
    assert "p%40ss-word" not in Path(outcome.path).read_text("utf-8")
    (connection,) = resolve({"credential": "contoso", "config_dir": store.config_dir}, {})
    assert connection.http.proxy == "http://carl:p%40ss-word@proxy.example:3128"
    assert not defining(client_secret=SECRET, proxy="http://carl:p%40ss-word@proxy.example:3128").changed
    again = defining(client_secret=SECRET, proxy="http://carl:other@proxy.example:3128")
    assert again.changed
    assert again.after["proxy_password"] == "file (new value)"
    assert defining(client_secret=SECRET, proxy="http://proxy.example:3128").credential["proxy_password"] == "none"


@pytest.mark.parametrize(
    ("url", "bare", "password"),
    [
        ("http://proxy:3128", "http://proxy:3128", None),
        ("http://u@proxy:3128", "http://u@proxy:3128", None),
        ("http://u:p@proxy", "http://u@proxy", "p"),
        ("https://u:p:q@[::1]:80/", "https://u@[::1]:80/", "p:q"),
    ],
)
def test_split_proxy(url: str, bare: str, password: str | None) -> None:
    assert split_proxy(url) == (bare, password)
    if password is not None:
        assert join_proxy(bare, password) == url


# --- the same twice, and what counts as a change


def test_the_same_again_changes_nothing(defining: Defining, store: CredentialStore) -> None:
    options: dict[str, Any] = {
        "client_secret": SECRET,
        "organization": "Contoso",
        "hosts": ["graph.microsoft.com"],
        "description": "für München",
        "validate_certs": False,
        "timeout": None,
    }
    assert defining(**options).changed
    before = Path(store.definition_path("contoso")).stat().st_mtime_ns
    again = defining(**options)
    assert not again.changed
    assert again.before == again.after == again.credential
    assert Path(store.definition_path("contoso")).stat().st_mtime_ns == before


def test_another_secret_is_a_change_that_shows_no_secret(defining: Defining, store: CredentialStore) -> None:
    defining(client_secret=SECRET)
    outcome = defining(client_secret=NEW_SECRET)
    assert outcome.changed
    assert outcome.before["secret"] == "file"
    assert outcome.after["secret"] == "file (new value)"
    assert outcome.credential["secret"] == "file"
    assert store.load("contoso").secret_source().read() == NEW_SECRET
    assert SECRET not in repr(outcome)
    assert NEW_SECRET not in repr(outcome)


def test_a_line_end_is_no_part_of_a_secret(defining: Defining) -> None:
    defining(client_secret=SECRET)
    assert not defining(client_secret=SECRET + "\n").changed


def test_a_secret_left_out_is_kept(defining: Defining, store: CredentialStore) -> None:
    defining(client_secret=SECRET)
    outcome = defining(description="changed")
    assert outcome.changed
    assert outcome.credential["secret"] == "file"
    assert store.load("contoso").secret_source().read() == SECRET
    assert not defining(description="changed", client_secret="").changed


def test_other_options_left_out_are_not_kept(defining: Defining, store: CredentialStore) -> None:
    defining(client_secret=SECRET, description="old", hosts=["graph.microsoft.com"], cloud="gcc")
    defining()
    loaded = store.load("contoso")
    assert (loaded.description, loaded.hosts, loaded.cloud) == (None, (), None)


def test_a_secret_that_is_of_no_use_any_more_is_removed(defining: Defining, store: CredentialStore) -> None:
    defining(client_secret=SECRET)
    outcome = defining(client_secret_file="/run/secret")
    assert outcome.changed
    assert not os.path.exists(store.secrets_path("contoso"))
    defining(client_secret=SECRET)
    defining(client_certificate_path="/etc/wdatp/key.pem")
    assert not os.path.exists(store.secrets_path("contoso"))


def test_on_create_keeps_the_secret_that_is_there(defining: Defining, store: CredentialStore) -> None:
    defining(client_secret=SECRET, update_secret="on_create")
    assert not defining(client_secret=NEW_SECRET, update_secret="on_create").changed
    assert store.load("contoso").secret_source().read() == SECRET
    assert defining(client_secret=NEW_SECRET).changed


def test_a_certificates_password(defining: Defining, store: CredentialStore, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"client_certificate_path": "/etc/wdatp/key.pfx"}
    monkeypatch.delenv("WDATP_CLIENT_CERTIFICATE_PASSWORD", raising=False)
    assert defining(**options).credential["certificate_password"] == "none"
    assert store.load("contoso").certificate_password_source() is None
    assert defining(**options, client_certificate_password=SECRET).changed
    source = store.load("contoso").certificate_password_source()
    assert source is not None
    assert source.read() == SECRET
    assert not defining(**options).changed


def test_rights_that_are_too_wide_are_a_change(defining: Defining, store: CredentialStore) -> None:
    defining(client_secret=SECRET)
    for path, wanted in ((store.secrets_path("contoso"), 0o600), (os.path.dirname(store.secrets_path("x")), 0o700)):
        os.chmod(path, wanted | 0o044)
        assert defining(client_secret=SECRET, check=True).changed
        assert defining(client_secret=SECRET).changed
        assert mode(path) == wanted
        assert not defining(client_secret=SECRET).changed


def test_rights_of_a_store_without_secrets_do_not_matter(defining: Defining, store: CredentialStore) -> None:
    defining("other", client_secret=SECRET)
    defining()
    os.chmod(os.path.dirname(store.secrets_path("x")), 0o755)
    assert not defining().changed


def test_a_secret_that_was_lost_is_noticed(defining: Defining, store: CredentialStore) -> None:
    defining(client_secret=SECRET)
    os.unlink(store.secrets_path("contoso"))
    with pytest.raises(CredentialError, match="does not hold the client_secret") as caught:
        store.load("contoso").secret_source().read()
    assert "wdatp_credential" in caught.value.remedy
    assert defining(client_secret=SECRET, check=True).changed
    assert defining(client_secret=SECRET).changed
    assert store.load("contoso").secret_source().read() == SECRET


def test_check_mode_predicts_and_writes_nothing(defining: Defining, store: CredentialStore) -> None:
    predicted = defining(client_secret=SECRET, organization="Contoso", check=True)
    assert not os.path.exists(store.config_dir)
    assert predicted == defining(client_secret=SECRET, organization="Contoso")
    content = all_bytes(store.config_dir)
    assert defining(client_secret=NEW_SECRET, check=True).changed
    assert defining(state="absent", check=True).changed
    assert not defining(client_secret=SECRET, organization="Contoso", check=True).changed
    assert all_bytes(store.config_dir) == content


# --- removal


def test_absent_removes_all_of_it_and_nothing_else(defining: Defining, store: CredentialStore) -> None:
    defining(client_secret=SECRET, organization="Contoso")
    defining("other", client_secret=NEW_SECRET)
    outcome = defining(state="absent")
    assert outcome.changed
    assert outcome.before["organization"] == "Contoso"
    assert outcome.after == {}
    assert SECRET.encode() not in all_bytes(store.config_dir)
    assert store.names() == ["other"]
    assert not defining(state="absent").changed


def test_absent_needs_nothing_but_the_name(etc: str) -> None:
    assert not define({"name": "contoso", "state": "absent", "config_dir": etc}, environ={}).changed
    assert not os.path.exists(etc)


def test_absent_removes_what_is_broken_or_half(defining: Defining, store: CredentialStore) -> None:
    defining(client_secret=SECRET)
    Path(store.definition_path("contoso")).write_text("{", "utf-8")
    assert defining(state="absent").changed
    defining(client_secret=SECRET)
    os.unlink(store.definition_path("contoso"))
    assert defining(state="absent").changed
    assert not os.path.exists(store.secrets_path("contoso"))


# --- what makes no sense


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"tenant_id": None}, "tenant_id is missing"),
        ({"client_id": None}, "client_id is missing"),
        ({"tenant_id": "contoso"}, "neither a GUID nor a domain"),
        ({"tenant_id": "../../etc/passwd"}, "neither a GUID nor a domain"),
        ({"client_id": "contoso.example"}, "is not a GUID"),
        ({"client_secret": SECRET, "client_secret_file": "/x"}, "together with client_secret_file"),
        ({"client_secret": "one\ntwo"}, "several lines"),
        ({"client_secret": SECRET, "client_certificate_path": "/x"}, "used to authenticate is certificate"),
        ({"client_certificate_password": SECRET}, "used to authenticate is client_secret"),
        ({"auth_method": "managed_identity", "client_secret": SECRET}, "used to authenticate is managed_identity"),
        ({"auth_method": "certificate"}, "client_certificate_path is missing"),
        ({"client_secret_file": "secret.txt"}, "not an absolute path"),
        ({"ca_path": "ca.pem"}, "not an absolute path"),
        ({"organization": " "}, "is not a name"),
        ({"organization": "a\nb"}, "is not a name"),
        ({"tenants": [{"tenant_id": TENANT, "organization": "A"}]}, "together with tenant_id"),
        ({"hosts": ["https://graph.microsoft.com/"]}, "is not a host name"),
        ({"hosts": ["graph.microsoft.us"], "cloud": "commercial"}, "belongs to the cloud gcc_high"),
        ({"hosts": ["microsoftgraph.chinacloudapi.cn"]}, "China"),
        ({"api_url": "http://localhost:1"}, "not an https address"),
        ({"authority_url": "https://login.example/tenant"}, "has the path"),
        ({"proxy": "ftp://proxy"}, "proxy"),
        ({"name": "../x"}, "can't be a credential's name"),
        ({"name": ".hidden"}, "can't be a credential's name"),
        ({"name": "a" * 65}, "can't be a credential's name"),
    ],
)
def test_nonsense_is_refused(defining: Defining, store: CredentialStore, options: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionError, match=says) as caught:
        defining(**{"name": "contoso", **options})
    assert caught.value.remedy
    assert SECRET not in str(caught.value)
    assert not os.path.exists(store.config_dir)


def test_the_proxys_password_is_in_no_message(defining: Defining) -> None:
    with pytest.raises(OptionError) as caught:
        defining(proxy="ftp://carl:p%40ss-word@proxy")
    assert "p%40ss-word" not in str(caught.value)


@pytest.mark.parametrize("twice", [(TENANT, "Fabrikam"), (OTHER, "CONTOSO ")])
def test_each_tenant_once(defining: Defining, twice: tuple[str, str]) -> None:
    tenants = [
        {"tenant_id": TENANT, "organization": "Contoso"},
        {"tenant_id": twice[0], "organization": twice[1]},
    ]
    with pytest.raises(OptionError, match="is there twice"):
        defining(tenant_id=None, tenants=tenants)


def test_the_secrets_id_in_place_of_the_secret_is_a_warning(defining: Defining) -> None:
    defining(client_secret=OTHER)
    assert len(defining.warnings) == 1
    assert "secret's ID" in defining.warnings[0]
    assert OTHER not in defining.warnings[0]


# --- the environment


def test_the_environment_says_what_the_task_leaves_out(defining: Defining) -> None:
    environ = {
        "WDATP_TENANT_ID": OTHER,
        "WDATP_CLIENT_ID": CLIENT,
        "WDATP_CLIENT_CERTIFICATE_PATH": "/etc/wdatp/key.pem",
    }
    shown = defining(tenant_id=None, client_id=None, environ=environ).credential
    assert (shown["tenant_id"], shown["client_id"], shown["auth_method"]) == (OTHER, CLIENT, "certificate")
    shown = defining(client_secret=SECRET, environ=environ).credential
    assert (shown["tenant_id"], shown["auth_method"]) == (TENANT, "client_secret")
    assert shown["client_certificate_path"] is None


def test_the_environments_tenant_is_none_of_several(defining: Defining) -> None:
    tenants = [{"tenant_id": TENANT, "organization": "Contoso"}]
    shown = defining(tenant_id=None, tenants=tenants, environ={"WDATP_TENANT_ID": OTHER}).credential
    assert shown["tenant_id"] is None
    assert shown["tenants"] == tenants


def test_where_it_leads_is_stored_only_where_given(defining: Defining) -> None:
    shown = defining(environ={"WDATP_CLOUD": "dod", "WDATP_API_URL": "https://x"}).credential
    assert (shown["cloud"], shown["api_url"]) == (None, None)


def test_auto_is_what_leaving_it_out_is(defining: Defining) -> None:
    defining(client_secret=SECRET)
    assert not defining(client_secret=SECRET, auth_method="auto").changed


# --- several tenants


@pytest.fixture
def customers(defining: Defining, store: CredentialStore) -> CredentialStore:
    defining(
        "customers",
        tenant_id=None,
        client_secret=SECRET,
        hosts=["api.security.microsoft.com"],
        tenants=[{"tenant_id": TENANT, "organization": "Contoso"}, {"tenant_id": OTHER, "organization": "Fabrikam"}],
    )
    return store


def test_tenants_for(customers: CredentialStore) -> None:
    loaded = customers.load("customers")
    assert loaded.tenants == (Tenant(TENANT, "Contoso"), Tenant(OTHER, "Fabrikam"))
    assert loaded.tenants_for(None) == [(TENANT, "Contoso"), (OTHER, "Fabrikam")]
    assert loaded.tenants_for("fabrikam") == [(OTHER, "Fabrikam")]
    assert loaded.label() == "customers (organization Contoso, Fabrikam)"
    with pytest.raises(OptionError, match="no organization 'Adatum'; it has Contoso, Fabrikam"):
        loaded.tenants_for("Adatum")


def test_a_credential_without_organization_is_nobodys(defining: Defining, store: CredentialStore) -> None:
    defining(client_secret=SECRET)
    loaded = store.load("contoso")
    assert loaded.tenants_for(None) == [(TENANT, None)]
    with pytest.raises(OptionError, match="its definition names none"):
        loaded.tenants_for("Contoso")


def test_find(customers: CredentialStore, defining: Defining) -> None:
    defining("adatum", client_secret=SECRET, organization="Adatum", hosts=["API.security.microsoft.com"])

    def found(*what: str | None) -> list[str]:
        return [item.name for item in customers.find(*what)]

    assert found() == ["adatum", "customers"]
    assert found("api.security.microsoft.com") == ["adatum", "customers"]
    assert found("api.security.microsoft.com", "contoso") == ["customers"]
    assert found(None, "ADATUM") == ["adatum"]
    assert found("graph.microsoft.com") == []
    assert found(None, None, "adatum") == ["adatum"]
    assert found(None, "Contoso", "adatum") == []
    assert found(None, None, "nobody") == []


def test_a_thousand_tenants(defining: Defining, store: CredentialStore) -> None:
    tenants = [
        {"tenant_id": f"{number:08x}-0000-4000-8000-000000000000", "organization": f"Customer {number}"}
        for number in range(1000)
    ]
    defining("many", tenant_id=None, client_secret=SECRET, tenants=tenants)
    loaded = store.load("many")
    assert len(loaded.tenants) == 1000
    assert len(loaded.label()) < 400
    with pytest.raises(OptionError, match="and 980 more"):
        loaded.tenants_for("nobody")


def test_listing() -> None:
    assert listing(["a", "b"]) == "a, b"
    assert listing([str(number) for number in range(25)]).endswith("18, 19 and 5 more")


# --- a store that is not as it should be


def test_an_unknown_name_lists_those_that_are_there(customers: CredentialStore) -> None:
    with pytest.raises(CredentialError, match="there are customers") as caught:
        customers.load("contoso")
    assert caught.value.code == "credential.unknown"


def test_an_empty_store_says_how_to_fill_it(store: CredentialStore) -> None:
    assert store.all() == []
    with pytest.raises(CredentialError, match="the store is empty") as caught:
        store.load("contoso")
    assert store.config_dir in caught.value.message
    assert "wdatp_credential" in caught.value.remedy


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"schema": "1"}',
        '{"schema": 1, "hosts": "x"}',
        '{"schema": 1, "hosts": [1]}',
        '{"schema": 1, "tenants": [{"tenant_id": "x.example"}]}',
        '{"schema": 1, "tenants": [{"tenant_id": "../x", "organization": "A"}]}',
        '{"schema": 1, "tenant_id": "../../x"}',
        '{"schema": 1, "tenants": ["x"]}',
        '{"schema": 1, "client_id": 5}',
        '{"schema": 1, "validate_certs": "no"}',
        b"\xff\xfe",
    ],
)
def test_a_broken_definition(defining: Defining, store: CredentialStore, text: str | bytes) -> None:
    defining(client_secret=SECRET)
    path = Path(store.definition_path("contoso"))
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    for read in (lambda: store.load("contoso"), store.all):
        with pytest.raises(CredentialError, match="is broken") as caught:
            read()
        assert str(path) in caught.value.message
        assert caught.value.remedy
    assert defining(client_secret=SECRET).changed
    assert store.load("contoso").tenant_id == TENANT


def test_a_definition_of_a_newer_version(defining: Defining, store: CredentialStore) -> None:
    defining(client_secret=SECRET)
    path = Path(store.definition_path("contoso"))
    path.write_text(json.dumps({"schema": SCHEMA + 1}), "utf-8")
    for act in (lambda: store.load("contoso"), lambda: defining(client_secret=SECRET)):
        with pytest.raises(CredentialError, match="newer version"):
            act()


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"client_secret": 1}', '["' + SECRET + '"'])
def test_broken_secrets_are_not_shown(defining: Defining, store: CredentialStore, text: str) -> None:
    defining(client_secret=SECRET)
    path = Path(store.secrets_path("contoso"))
    path.write_text(text, "utf-8")
    with pytest.raises(CredentialError, match="is broken") as caught:
        store.load("contoso").secret_source().read()
    assert str(path) in caught.value.message
    assert SECRET not in repr(caught.value.__cause__) + str(caught.value)
    assert defining(client_secret=SECRET).changed


def test_a_store_that_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "etc").write_text("", "utf-8")
    defining = Defining(str(tmp_path / "etc"))
    for act in (
        lambda: defining(client_secret=SECRET),
        lambda: defining(client_secret=SECRET, check=True),
        lambda: CredentialStore(defining.config_dir).load("x"),
        lambda: CredentialStore(defining.config_dir).all(),
    ):
        with pytest.raises(CredentialError) as caught:
            act()
        assert defining.config_dir in caught.value.message
        assert caught.value.code == "credential.denied"


@ROOT_SEES_ALL
def test_a_store_without_rights(defining: Defining, store: CredentialStore, tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o500)
    try:
        for check in (False, True):
            with pytest.raises(CredentialError, match="Permission denied"):
                defining(client_secret=SECRET, check=check)
    finally:
        os.chmod(tmp_path, 0o700)


def test_foreign_files_in_the_store_are_left_alone(customers: CredentialStore) -> None:
    directory = Path(customers.definition_path("x")).parent
    for name in (".customers.tmp", "notes.txt", "-x.json", ".json", "a b.json"):
        (directory / name).write_text("?", "utf-8")
    assert customers.names() == ["customers"]


# --- names


@pytest.mark.parametrize("name", ["a", "contoso", "Contoso-EU_2.test", "a" * 64])
def test_names(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", " a", "a ", "a\n", "a/b", "..", "-a", "ä", "a" * 65, "a."])
def test_bad_names(name: str) -> None:
    with pytest.raises(OptionError):
        check_name(name)


@pytest.mark.parametrize("tenant", [TENANT, TENANT.upper(), "contoso.onmicrosoft.com", "contoso.example"])
def test_tenant_ids(tenant: str) -> None:
    assert check_tenant_id(tenant) == tenant


@pytest.mark.parametrize("tenant", ["", "common", TENANT + "\n", TENANT[:-1], "a..b", "-a.example", "a.example/x"])
def test_bad_tenant_ids(tenant: str) -> None:
    with pytest.raises(OptionError, match=r"tenant_id"):
        check_tenant_id(tenant)


@pytest.mark.parametrize("client", ["", "contoso.example", "{" + CLIENT + "}", CLIENT + "\n"])
def test_bad_client_ids(client: str) -> None:
    with pytest.raises(OptionError, match=r"client_id"):
        check_client_id(client)
