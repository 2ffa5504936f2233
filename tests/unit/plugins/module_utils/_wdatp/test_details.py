# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The portal's file, in every form that it may have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp.credentials import CredentialStore
from ansible_collections.secops.defender.plugins.module_utils._wdatp.definitions import Outcome, define
from ansible_collections.secops.defender.plugins.module_utils._wdatp.details import Details, read_details
from ansible_collections.secops.defender.plugins.module_utils._wdatp.errors import CredentialError, OptionError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

TENANT, CLIENT = "0f3c1f6e-8f2b-4f5e-9d6b-1c2d3e4f5a6b", "6d5c4b3a-2f1e-4d0c-8b9a-7f6e5d4c3b2a"
SECRET = "Ab:8Q~=x/+ü=="
HOST = "wdatp-alertexporter-us.windows.com"
WHOLE = Details(TENANT, CLIENT, SECRET, HOST)

LINES = f"""Microsoft Defender SIEM integration: details
Generated on 2021-03-04 at 10:11:12

Client ID: {CLIENT}
Client secret : {SECRET}
Authorization server URL: https://login.microsoftonline.com/{TENANT}/oauth2/authorize
Resource: https://graph.windows.net
URL: https://{HOST}/api/alerts
"""
PROPERTIES = f"""# saved
tenant_id={TENANT}
client_id={CLIENT}
client_secret={SECRET}
api-host={HOST}
"""
STACKED = f"""Tenant ID
{TENANT}

Application ID
{CLIENT}

Client secret
{SECRET}

Alerts URL
https://{HOST}/api/alerts
"""
AS_JSON = json.dumps(
    {"app": {"clientId": CLIENT, "clientSecret": SECRET}, "tenantId": TENANT, "url": f"https://{HOST}", "version": 2}
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "details.txt"


def refusal(path: Path) -> CredentialError:
    with pytest.raises(CredentialError) as caught:
        read_details(str(path))
    assert caught.value.code == "credential.details_file"
    assert str(path) in caught.value.message
    assert "client_secret" in caught.value.remedy
    return caught.value


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("text", [LINES, PROPERTIES, STACKED, AS_JSON], ids=["lines", "properties", "stacked", "json"])
def test_it_is_taken_as_it_is(path: Path, text: str, ends: str, encoding: str) -> None:
    path.write_bytes(text.replace("\n", ends).encode(encoding))
    assert read_details(str(path)) == WHOLE


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no client_id and no client_secret"),
        (f"Client ID: {CLIENT}\n", "no client_secret"),
        (f"Client secret: {SECRET}\n", "no client_id"),
        (PROPERTIES.replace(CLIENT, "not a GUID"), "not a GUID"),
        (PROPERTIES.replace(TENANT, "not/a tenant"), "neither a GUID nor a domain name"),
        ("[1, 2]", "no client_id"),
    ],
)
def test_what_is_missing_is_named(path: Path, text: str, said: str) -> None:
    path.write_text(text)
    error = refusal(path)
    assert said in error.message
    assert SECRET not in str(error)


def test_file_that_cannot_be_read(path: Path) -> None:
    assert "No such file" in refusal(path).message
    path.write_bytes(b"\xff\x00\xff" * 9)
    assert "no text" in refusal(path).message


def test_secret_is_in_no_representation(path: Path) -> None:
    path.write_text(LINES)
    assert SECRET not in repr(read_details(str(path)))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_whatever_is_in_it_gets_one_clear_error(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    refusal(path)


# --- in a definition -----------------------------------------------------------------------------------------------


def defined(tmp_path: Path, **options: Any) -> Outcome:
    values = {"name": "contoso", "config_dir": str(tmp_path / "etc"), "details_file": str(tmp_path / "details.txt")}
    return define({**values, "secret_storage": "file", **options}, environ={"WDATP_TENANT_ID": "other.example"})


def test_a_credential_is_made_of_it(path: Path, tmp_path: Path) -> None:
    path.write_text(LINES)
    outcome = defined(tmp_path)
    shown = outcome.credential
    assert (shown["tenant_id"], shown["client_id"], shown["hosts"]) == (TENANT, CLIENT, [HOST])
    assert shown["auth_method"] == "client_secret"
    assert not defined(tmp_path).changed
    path.unlink()
    assert CredentialStore(str(tmp_path / "etc")).load("contoso").secret_source().read() == SECRET


def test_options_say_otherwise(path: Path, tmp_path: Path) -> None:
    path.write_text(LINES)
    shown = defined(tmp_path, tenant_id="contoso.example", hosts=["graph.microsoft.com"]).credential
    assert (shown["tenant_id"], shown["hosts"]) == ("contoso.example", ["graph.microsoft.com"])


def test_it_serves_several_tenants_too(path: Path, tmp_path: Path) -> None:
    path.write_text(LINES)
    shown = defined(tmp_path, tenants=[{"tenant_id": TENANT, "organization": "Contoso"}]).credential
    assert (shown["tenant_id"], shown["tenants"][0]["organization"]) == (None, "Contoso")


@pytest.mark.parametrize("option", ["client_secret", "client_secret_file", "client_certificate_path"])
def test_two_ways_to_authenticate_are_an_error(path: Path, tmp_path: Path, option: str) -> None:
    path.write_text(LINES)
    with pytest.raises(OptionError, match=option):
        defined(tmp_path, **{option: "/x"})
