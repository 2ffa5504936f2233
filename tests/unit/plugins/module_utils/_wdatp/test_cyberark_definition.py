# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stored definition of an account in CyberArk: what is kept, shown, compared and refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp.config import resolve_one
from ansible_collections.secops.defender.plugins.module_utils._wdatp.credentials import CredentialStore
from ansible_collections.secops.defender.plugins.module_utils._wdatp.cyberark import CcpSecret
from ansible_collections.secops.defender.plugins.module_utils._wdatp.definitions import Outcome, define
from ansible_collections.secops.defender.plugins.module_utils._wdatp.errors import CredentialError, OptionError

TENANT, CLIENT = "0f3c1f6e-8f2b-4f5e-9d6b-1c2d3e4f5a6b", "6d5c4b3a-2f1e-4d0c-8b9a-7f6e5d4c3b2a"
ACCOUNT = {"url": "https://ccp.example/vault/", "app_id": "wdatp", "safe": "R&D safe", "object": "wdatp-app"}
SECRET = "Qx8~first/secret+value="
ALL = {
    **ACCOUNT,
    "url": "https://ccp.example/vault",
    "webservice_id": "Other",
    "folder": "Root",
    "username": CLIENT,
    "address": "login.microsoftonline.com",
    "database": "none",
    "policy_id": "Azure",
    "query": None,
    "query_format": "Exact",
    "reason": "alerts to the SIEM",
    "connection_timeout": 20,
    "fail_request_on_password_change": False,
    "client_cert": "/etc/wdatp/ccp.pem",
    "client_key": "/etc/wdatp/ccp.key",
    "ca_path": "/etc/wdatp/ca.pem",
    "validate_certs": True,
}


class Defining:
    def __init__(self, config_dir: str) -> None:
        self.store = CredentialStore(config_dir)

    def __call__(self, check: bool = False, environ: Any = None, **options: Any) -> Outcome:
        given = {"name": "contoso", "config_dir": self.store.config_dir, "tenant_id": TENANT, "cyberark": ACCOUNT}
        return define({**given, **options}, check=check, environ=environ or {})

    @property
    def text(self) -> str:
        return Path(self.store.definition_path("contoso")).read_text("utf-8")


@pytest.fixture
def defining(tmp_path: Path) -> Defining:
    return Defining(str(tmp_path / "etc"))


def test_all_of_it_is_kept_and_shown(defining: Defining) -> None:
    outcome = defining(cyberark=ALL)
    assert (outcome.credential["cyberark"], outcome.credential["secret"]) == (ALL, "cyberark")
    assert outcome.credential["auth_method"] == "client_secret"
    assert defining.store.load("contoso").describe() == outcome.credential
    assert not os.path.exists(defining.store.secrets_path("contoso"))
    kept = json.loads(defining.text)["cyberark"]
    assert kept == {name: value for name, value in ALL.items() if value is not None}


def test_the_same_again_changes_nothing(defining: Defining) -> None:
    assert defining().changed
    before = defining.text
    # With what the argument spec adds, and with a slash more or less.
    for account in (
        ACCOUNT,
        {**ACCOUNT, "url": "https://ccp.example/vault", "webservice_id": "AIMWebService"},
        {**ACCOUNT, "folder": None, "reason": "", "validate_certs": True},
    ):
        assert not defining(cyberark=account).changed
    assert defining.text == before


def test_check_mode_and_diff(defining: Defining) -> None:
    predicted = defining(check=True)
    assert predicted.changed
    assert not os.path.exists(defining.store.config_dir)
    assert defining() == predicted
    changed = {**ACCOUNT, "safe": "Other"}
    predicted = defining(check=True, cyberark=changed)
    assert (predicted.before["cyberark"]["safe"], predicted.after["cyberark"]["safe"]) == ("R&D safe", "Other")
    assert defining(cyberark=changed) == predicted


def test_a_secret_that_was_given_goes_when_cyberark_comes(defining: Defining) -> None:
    defining(cyberark=None, client_id=CLIENT, client_secret=SECRET)
    assert os.path.exists(defining.store.secrets_path("contoso"))
    outcome = defining()
    assert (outcome.before["secret"], outcome.after["secret"]) == ("file", "cyberark")
    assert not os.path.exists(defining.store.secrets_path("contoso"))
    assert outcome.credential["client_id"] is None
    back = defining(cyberark=None, client_id=CLIENT, client_secret=SECRET)
    assert (back.credential["cyberark"], back.credential["secret"]) == (None, "file")
    assert defining.store.load("contoso").secret_source().read() == SECRET


def test_it_is_what_the_credential_signs_in_with(defining: Defining) -> None:
    defining()
    connection = resolve_one({"credential": "contoso", "config_dir": defining.store.config_dir}, {})
    assert isinstance(connection.identity.secret, CcpSecret)
    assert (connection.identity.method, connection.identity.client_id) == ("client_secret", "")
    text = "CyberArk account (safe R&D safe, object wdatp-app) for the application wdatp, from ccp.example"
    assert connection.identity.secret.describe() == text


def test_the_environment_has_no_say(defining: Defining) -> None:
    environ = {
        "WDATP_CLIENT_ID": CLIENT,
        "WDATP_CLIENT_SECRET": SECRET,
        "WDATP_CLIENT_CERTIFICATE_PATH": "/etc/other.pem",
        "WDATP_AUTH_METHOD": "certificate",
        "WDATP_TENANT_ID": TENANT,
    }
    outcome = defining(environ=environ, tenant_id=None)
    shown = outcome.credential
    assert (shown["tenant_id"], shown["client_id"], shown["auth_method"]) == (TENANT, None, "client_secret")
    assert shown["client_certificate_path"] is None
    assert defining(environ=environ, client_id=CLIENT).credential["client_id"] == CLIENT


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"client_secret": SECRET}, "client_secret is given together with cyberark"),
        ({"client_secret_file": "/run/secret"}, "client_secret_file is given together with cyberark"),
        (
            {"auth_method": "certificate", "client_certificate_path": "/c", "client_id": CLIENT},
            "cyberark is given, but",
        ),
        ({"auth_method": "managed_identity"}, "cyberark is given, but"),
        ({"tenant_id": None}, "tenant_id is missing"),
        ({"cyberark": {}}, "url is missing"),
        ({"cyberark": {**ACCOUNT, "app_id": None}}, "app_id is missing"),
        ({"cyberark": {**ACCOUNT, "safe": "a;b"}}, "no semicolon"),
        ({"cyberark": {**ACCOUNT, "query": "Safe=x"}}, "query is given together with safe, object"),
        ({"cyberark": {**ACCOUNT, "ca_path": "ca.pem"}}, "beginning with /"),
    ],
)
def test_nonsense_is_not_stored(defining: Defining, options: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionError, match=says) as caught:
        defining(**options)
    assert caught.value.code in ("option.invalid", "option.missing", "option.conflict")
    assert not os.path.exists(defining.store.config_dir)


def test_definitions_of_older_versions_load(defining: Defining) -> None:
    defining(cyberark=None, client_id=CLIENT, client_secret=SECRET)
    values = json.loads(defining.text)
    # What these versions can read is written as they know it.
    assert (values["schema"], "cyberark" in values) == (1, False)
    assert defining.store.load("contoso").cyberark is None
    defining()
    assert json.loads(defining.text)["schema"] == 2


@pytest.mark.parametrize(
    "account",
    ["text", [], {}, {"url": "https://ccp"}, {**ALL, "safe": 5}, {**ALL, "colour": "red"}, {**ALL, "safe": "a;b"}],
)
def test_a_broken_definition(defining: Defining, account: Any) -> None:
    defining()
    values = {**json.loads(defining.text), "cyberark": account}
    Path(defining.store.definition_path("contoso")).write_text(json.dumps(values), "utf-8")
    with pytest.raises(CredentialError) as caught:
        defining.store.load("contoso")
    assert caught.value.code == "credential.broken"
    assert defining().changed
