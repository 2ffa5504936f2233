# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The mock of CyberArk's CCP: matching, errors, client certificates, rotation, faults, the control endpoint."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from mock_api import MockTenant
from mock_api.cli import _config, _parser
from mock_api.messages import CCP_ERRORS
from mock_client import serve


@pytest.fixture(scope="module")
def running() -> Iterator[MockTenant]:
    with serve(alerts=0, ccp={}) as tenant:
        yield tenant


@pytest.fixture
def tenant(running: MockTenant) -> MockTenant:
    running.configure(ccp={}, client_secret="first-secret", faults=[])
    running.clear_requests()
    return running


def ask(tenant: MockTenant, query: str, with_certificate: bool = False, **more: Any) -> requests.Response:
    ccp = tenant.ccp
    assert ccp is not None
    session = requests.Session()
    session.trust_env = False
    cert = (ccp["client_cert"], ccp["client_key"]) if with_certificate else None
    url = f"{ccp['url']}/{ccp['webservice_id']}/api/Accounts?{query}"
    return session.get(url, **{"verify": ccp["ca_path"], "cert": cert, "timeout": 10, **more})


def code(response: requests.Response) -> tuple[int, str]:
    return response.status_code, response.json()["ErrorCode"]


GOOD = "AppID=wdatp&Safe=Defender&Object=wdatp-app"


@pytest.mark.parametrize(
    "query",
    [
        GOOD,
        "AppId=wdatp&safe=DEFENDER",
        "AppID=wdatp&UserName=22",
        "AppID=wdatp&Query=Safe=Defender;Object=wdatp-app",
        "AppID=wdatp&Query=Safe%3DDefender&Safe=ignored",
        "AppID=wdatp&Query=Object=wdatp-.*&QueryFormat=Regexp",
        "AppID=wdatp&Safe=Defender&Reason=a%20reason&ConnectionTimeout=5&FailRequestOnPasswordChange=true",
    ],
)
def test_the_account_of_the_app_registration(tenant: MockTenant, query: str) -> None:
    response = ask(tenant, query.replace("UserName=22", f"UserName={tenant.client_id}"))
    assert response.status_code == 200, response.text
    assert response.json() == {
        "Content": "first-secret",
        "UserName": tenant.client_id,
        "Safe": "Defender",
        "Folder": "Root",
        "Name": "wdatp-app",
        "PolicyID": "MicrosoftEntraApp",
        "PasswordChangeInProcess": False,
    }


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("Safe=Defender", (400, "AIMWS031E")),
        ("AppID=wdatp", (400, "AIMWS030E")),
        ("AppID=wdatp&Query=Colour=red", (400, "AIMWS030E")),
        ("AppID=wdatp&Safe=a%3Bb", (400, "AIMWS030E")),
        ("AppID=other&Safe=Defender", (403, "APPAP008E")),
        ("AppID=wdatp&Safe=Defenders", (404, "APPAP004E")),
        ("AppID=wdatp&Safe=Defender&Folder=Other", (404, "APPAP004E")),
        ("AppID=wdatp&Query=Object=wdatp-.*", (404, "APPAP004E")),
        ("AppID=wdatp&Safe=Two", (400, "APPAP228E")),
        ("AppID=wdatp&Safe=Two+Words", (404, "APPAP004E")),
    ],
)
def test_refusals(tenant: MockTenant, query: str, answer: tuple[int, str]) -> None:
    accounts = [{"Safe": "Defender", "Object": "wdatp-app"}, {"Safe": "Two words"}, {"Safe": "Two"}, {"Safe": "two"}]
    tenant.configure(ccp={"accounts": accounts})
    assert code(ask(tenant, query)) == answer
    assert tenant.requests[-1]["leg"] == "ccp"
    assert tenant.requests[-1]["raw_query"] == query


def test_a_web_service_of_its_own(tenant: MockTenant) -> None:
    tenant.configure(ccp={"webservice_id": "Other", "path": "/vault"})
    assert ask(tenant, GOOD).status_code == 200
    assert tenant.requests[-1]["path"] == "/vault/Other/api/Accounts"
    tenant.configure(ccp={})
    assert tenant.ccp is not None
    missing = requests.get(tenant.ccp["url"] + "/Other/api/Accounts", verify=tenant.ccp["ca_path"], timeout=10)
    assert (missing.status_code, list(missing.json())) == (404, ["Message"])


def test_rotation_and_a_password_that_is_being_changed(tenant: MockTenant) -> None:
    tenant.configure(client_secret="second-secret")
    assert ask(tenant, GOOD).json()["Content"] == "second-secret"
    account = {"Safe": "Defender", "Content": "own", "PasswordChangeInProcess": "True"}
    tenant.configure(ccp={"accounts": [account]})
    body = ask(tenant, "AppID=wdatp&Safe=Defender").json()
    assert (body["Content"], body["PasswordChangeInProcess"]) == ("own", "True")
    refused = ask(tenant, "AppID=wdatp&Safe=Defender&FailRequestOnPasswordChange=true")
    assert code(refused) == (500, "APPAP282E")


def test_client_certificates(tenant: MockTenant) -> None:
    assert ask(tenant, GOOD, with_certificate=True).status_code == 200
    serial = tenant.requests[-1]["serial_number"]
    assert int(serial, 16) > 0
    tenant.configure(ccp={"client_certificate": "required"})
    page = ask(tenant, GOOD)
    assert (page.status_code, "403.7" in page.text) == (403, True)
    assert ask(tenant, GOOD, with_certificate=True).status_code == 200
    tenant.configure(ccp={"client_certificate": "demanded"})
    with pytest.raises(requests.RequestException):
        ask(tenant, GOOD)
    assert ask(tenant, GOOD, with_certificate=True).status_code == 200
    tenant.configure(ccp={"serial_numbers": ["1234"]})
    refused = ask(tenant, GOOD, with_certificate=True)
    assert code(refused) == (403, "APPAP306E")
    assert f"APPAP133E Failed to verify application authentication data: CertificateSN [{serial}]" in refused.text
    tenant.configure(ccp={"serial_numbers": [serial]})
    assert ask(tenant, GOOD, with_certificate=True).status_code == 200
    tenant.configure(ccp={"allowed_machines": ["192.0.2.1"]})
    assert code(ask(tenant, GOOD)) == (403, "APPAP306E")
    tenant.configure(ccp={"allowed_machines": ["127.0.0.1"]})
    assert ask(tenant, GOOD).status_code == 200


def test_its_ca_is_not_the_tenants(tenant: MockTenant) -> None:
    with pytest.raises(requests.exceptions.SSLError):
        ask(tenant, GOOD, verify=tenant.ca_path)


@pytest.mark.parametrize("name", sorted(CCP_ERRORS))
def test_every_error_on_demand(tenant: MockTenant, name: str) -> None:
    tenant.set_faults([{"match": {"leg": "ccp", "times": 1}, "do": {"ccp_error": name}}])
    assert code(ask(tenant, GOOD)) == (CCP_ERRORS[name][0], name)
    assert ask(tenant, GOOD).status_code == 200


def test_the_faults_of_the_apis_are_not_its_own(tenant: MockTenant) -> None:
    tenant.set_faults([{"match": {"leg": "api"}, "do": {"status": 500}}])
    assert ask(tenant, GOOD).status_code == 200
    tenant.set_faults([{"match": {"leg": "ccp"}, "do": {"status": 503, "bom": True}}])
    response = ask(tenant, GOOD)
    assert (response.status_code, response.content[:3]) == (503, b"\xef\xbb\xbf")


def test_the_control_endpoint_steers_it(tenant: MockTenant) -> None:
    url = f"{tenant.control_url}/config"
    answer = requests.put(url, data=json.dumps({"ccp": {"app_id": "siem"}}), verify=tenant.ca_path, timeout=10)
    assert answer.json()["ccp"] == {"app_id": "siem"}
    assert code(ask(tenant, GOOD)) == (403, "APPAP008E")
    assert requests.get(f"{tenant.control_url}/stats", verify=tenant.ca_path, timeout=10).json()["by_leg"] == {"ccp": 1}


@pytest.mark.parametrize("knobs", [{"colour": "red"}, {"client_certificate": "maybe"}])
def test_nonsense_is_refused(tenant: MockTenant, knobs: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"client_certificate is one of|unknown knobs in ccp"):
        tenant.configure(ccp=knobs)
    assert ask(tenant, GOOD).status_code == 200


def test_whether_there_is_one_is_said_at_the_start(tenant: MockTenant, shared: MockTenant) -> None:
    assert shared.ccp is None
    for one, wanted in ((tenant, None), (shared, {})):
        with pytest.raises(ValueError, match="at the start"):
            one.configure(ccp=wanted)


def test_the_command_line_starts_it(tmp_path: Path) -> None:
    with MockTenant(_config(_parser().parse_args(["--alerts", "0", "--ccp"])), tmp_path) as tenant:
        ready = json.loads(json.dumps(tenant.describe()))
        assert ready["ccp"] == tenant.ccp
        assert ask(tenant, GOOD).json()["Content"] == tenant.client_secret
        assert (tmp_path / "ccp_client.key").stat().st_mode & 0o077 == 0
