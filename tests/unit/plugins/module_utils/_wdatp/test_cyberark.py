# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CyberArk's CCP as the place of the client secret: what is asked, how it is sent, what an answer means."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp import cyberark
from ansible_collections.secops.defender.plugins.module_utils._wdatp.ccp_errors import MEANINGS
from ansible_collections.secops.defender.plugins.module_utils._wdatp.cyberark import Account, CcpSecret, account_of
from ansible_collections.secops.defender.plugins.module_utils._wdatp.errors import OptionError, VaultError, WdatpError
from ansible_collections.secops.defender.plugins.module_utils._wdatp.transport import encode_query
from hypothesis import given, settings
from hypothesis import strategies as st
from mock_api import MockTenant, TenantConfig
from mock_api.messages import CCP_ERRORS

SECRET = "Qx8~the/client+secret=&%"
# All that means something in URLs, in CyberArk's queries, to a shell or to a regular expression, and other scripts.
SPECIAL = "Cloud Apps+R&D #1 100% a=b?c/d\\e:f@g'h\"i|j[k]{l}$m^n~o!p*(q),<r> Ünïcödé 山田 🃏 %41 &amp \u3000\u00a0end"


@pytest.fixture(scope="module")
def running() -> Iterator[MockTenant]:
    with MockTenant(TenantConfig(alerts=0, client_secret=SECRET, ccp={})) as tenant:
        yield tenant


@pytest.fixture
def vault(running: MockTenant, clean_environment: None, monkeypatch: pytest.MonkeyPatch) -> MockTenant:
    """A mock tenant with a CCP that is as on its first day; nobody waits for it."""
    running.configure(ccp={}, faults=[], client_secret=SECRET)
    running.clear_requests()
    monkeypatch.setattr(cyberark, "_WAITS", (0.0, 0.0))
    return running


def definition(vault: MockTenant, **options: Any) -> dict[str, Any]:
    """The option `cyberark` for the mock's account; None takes a field away."""
    return {**(vault.ccp or {}), **options}


def secret(vault: MockTenant, **options: Any) -> CcpSecret:
    return CcpSecret(account_of(definition(vault, **options)))


def failure(vault: MockTenant, **options: Any) -> WdatpError:
    with pytest.raises(WdatpError) as caught:
        secret(vault, **options).read()
    assert SECRET not in str(caught.value)
    return caught.value


def fail(vault: MockTenant, times: int = 1000, **do: Any) -> None:
    vault.set_faults([{"match": {"leg": "ccp", "times": times}, "do": do}])


# --- what is asked ----------------------------------------------------------------------------------------------------


def test_the_password_and_the_user_name(vault: MockTenant) -> None:
    source = secret(vault)
    assert (source.read(), source.client_id()) == (SECRET, vault.client_id)
    (entry,) = vault.requests
    assert (entry["path"], entry["status"]) == ("/AIMWebService/api/Accounts", 200)
    assert entry["query"] == {"AppID": "wdatp", "Safe": "Defender", "Object": "wdatp-app"}
    assert entry["serial_number"]
    assert SECRET not in json.dumps(vault.requests) + repr(source) + repr(vars(source)) + source.describe()


CRITERIA = {
    "safe": "Safe",
    "folder": "Folder",
    "object": "Object",
    "username": "UserName",
    "address": "Address",
    "database": "Database",
    "policy_id": "PolicyID",
}


def test_every_field_with_every_special_character_arrives(vault: MockTenant) -> None:
    texts = {name: f"{name} {SPECIAL}" for name in (*CRITERIA, "app_id", "reason")}
    properties = {parameter: texts[name] for name, parameter in CRITERIA.items()}
    vault.configure(ccp={"app_id": texts["app_id"], "accounts": [properties]})
    more = {"query_format": "Exact", "connection_timeout": 17, "fail_request_on_password_change": False}
    assert secret(vault, **texts, **more).read() == SECRET
    (entry,) = vault.requests
    assert entry["query"] == {
        "AppID": texts["app_id"],
        **properties,
        "QueryFormat": "Exact",
        "Reason": texts["reason"],
        "ConnectionTimeout": "17",
        "FailRequestOnPasswordChange": "false",
    }
    assert "+" not in entry["raw_query"]
    assert "Cloud%20Apps%2BR%26D%20%231%20100%25" in entry["raw_query"]


@pytest.mark.parametrize("name", sorted(CRITERIA))
def test_one_criterion_is_enough(vault: MockTenant, name: str) -> None:
    vault.configure(ccp={"accounts": [{"Folder": "Root", CRITERIA[name]: "the one"}, {"Folder": "Attic"}]})
    options = {"safe": None, "object": None, name: "the one"}
    assert secret(vault, **options).read() == SECRET
    assert vault.requests[-1]["query"] == {"AppID": "wdatp", CRITERIA[name]: "the one"}


@pytest.mark.parametrize(
    ("query", "form"), [("Safe=Defender;Object=wdatp-app", None), ("Safe=Def.*;Object=[a-z]+-app", "Regexp")]
)
def test_a_query_in_place_of_the_criteria(vault: MockTenant, query: str, form: str | None) -> None:
    assert secret(vault, safe=None, object=None, query=query, query_format=form).read() == SECRET
    assert vault.requests[-1]["query"]["Query"] == query


@pytest.mark.parametrize(
    ("service", "path"),
    [("AIMWebService", "/vault"), ("/WindowsAuthentication/", ""), ("R&D web/CCP", "/a/b/"), ("AIMWebService", "/")],
)
def test_a_web_service_and_a_path_of_their_own(vault: MockTenant, service: str, path: str) -> None:
    from urllib.parse import quote

    vault.configure(ccp={"webservice_id": quote(service.strip("/")), "path": path.rstrip("/")})
    url = definition(vault)["url"].rstrip("/") + ("/" if path.endswith("/") else "")
    assert secret(vault, url=url, webservice_id=service).read() == SECRET
    assert vault.requests[-1]["path"] == f"{path.rstrip('/')}/{quote(service.strip('/'))}/api/Accounts"


TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=30).filter(
    lambda text: text.strip() and ";" not in text
)


@settings(max_examples=300, deadline=None)
@given(values=st.dictionaries(st.sampled_from([*CRITERIA, "reason", "app_id"]), TEXT, min_size=1))
def test_any_text_survives_the_encoding(values: dict[str, str]) -> None:
    """Decoded as a URL's query is (RFC 3986, section 2.1), not as a form: a + would stay one."""
    account = account_of({"url": "https://ccp", "app_id": "a", "safe": "s", **values})
    query = encode_query(account.parameters())
    assert query.isascii()
    assert not set(query) & set(' +#;"<>\\^`{|}')
    decoded = [tuple(unquote(part) for part in pair.split("=", 1)) for pair in query.split("&")]
    assert decoded == account.parameters()
    names = {**CRITERIA, "reason": "Reason", "app_id": "AppID"}
    assert {names[name]: text for name, text in values.items()}.items() <= dict(decoded).items()


@settings(max_examples=60, deadline=None)
@given(text=TEXT)
def test_any_text_arrives(running: MockTenant, text: str) -> None:
    """Through requests, which changes addresses by rules of its own."""
    running.configure(ccp={"accounts": [{"Safe": text}]}, faults=[], client_secret=SECRET)
    running.clear_requests()
    assert secret(running, safe=text, object=None).read() == SECRET
    assert running.requests[-1]["query"]["Safe"] == text


# --- what is refused before anything is stored -----------------------------------------------------------------------

GOOD = {"url": "https://ccp.example", "app_id": "wdatp", "safe": "Defender"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"url": None}, "url is missing"),
        ({"app_id": ""}, "app_id is missing"),
        ({"safe": None}, "nothing says which account"),
        ({"query": "Object=x"}, "query is given together with safe"),
        ({"safe": "a;b"}, "no semicolon"),
        ({"app_id": "a;b"}, "no semicolon"),
        ({"reason": "a;b"}, "no semicolon"),
        ({"object": "a\nb"}, "on one line"),
        ({"object": "  "}, "printable"),
        ({"object": "a\u2028b"}, "printable"),
        ({"object": "a\udcffb"}, "printable"),
        ({"safe": None, "query": "a\x00b"}, "printable"),
        ({"query_format": "Glob"}, "Exact or Regexp"),
        ({"connection_timeout": 0}, "too small"),
        ({"connection_timeout": "30"}, "wrong type"),
        ({"connection_timeout": True}, "wrong type"),
        ({"fail_request_on_password_change": "yes"}, "wrong type"),
        ({"client_key": "/etc/key"}, "client_key is given without client_cert"),
        ({"client_cert": "etc/cert"}, "beginning with /"),
        ({"client_cert": "/etc/cert", "client_key": "key"}, "beginning with /"),
        ({"ca_path": "ca.pem"}, "beginning with /"),
        ({"webservice_id": "/"}, "web service's name"),
        ({"webservice_id": "a?b"}, "web service's name"),
        ({"webservice_id": "AIMWebService/api/Accounts"}, "web service's name"),
        ({"url": "http://ccp.example"}, "no plain https address"),
        ({"url": "ccp.example"}, "no plain https address"),
        ({"url": "https://"}, "no plain https address"),
        ({"url": "https://ccp.example:port"}, "no plain https address"),
        ({"url": "https://ccp.example/?x=1"}, "no plain https address"),
        ({"url": "https://ccp.example/#x"}, "no plain https address"),
        ({"url": "https://[ccp"}, "no plain https address"),
        ({"url": "https://carl:Qx8pass@ccp.example"}, "no plain https address"),
        ({"url": "https://ccp.example/AIMWebService"}, "before the web service's name"),
        ({"url": "https://ccp.example/aimwebservice/api/Accounts/"}, "before the web service's name"),
        ({"colour": "red"}, "there is no colour"),
    ],
)
def test_nonsense(options: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionError, match=says) as caught:
        account_of({**GOOD, **options})
    assert caught.value.message.startswith("cyberark: ")
    assert caught.value.remedy
    assert "Qx8pass" not in str(caught.value)


def test_nothing_else_than_what_is_given_is_sent() -> None:
    assert account_of({**GOOD, "folder": "", "reason": None}) == Account(
        "https://ccp.example", "wdatp", "AIMWebService", True, safe="Defender"
    )
    assert account_of(GOOD).parameters() == [("AppID", "wdatp"), ("Safe", "Defender")]


# --- what an answer means ---------------------------------------------------------------------------------------------


def test_the_tables_of_the_engine_and_of_the_mock_name_the_same_codes() -> None:
    assert set(MEANINGS) - {"APPAP133E"} == set(CCP_ERRORS)


@pytest.mark.parametrize("code", sorted(CCP_ERRORS))
def test_each_code_has_a_kind_and_a_remedy(vault: MockTenant, code: str) -> None:
    fail(vault, ccp_error=code)
    error = failure(vault)
    found = MEANINGS[code]
    assert isinstance(error, VaultError)
    assert (error.code, error.remedy) == (f"cyberark.{found.kind}", found.remedy)
    assert code in error.message
    assert found.meaning in error.message
    assert "/AIMWebService/api/Accounts" in error.message
    assert len(vault.requests) == (3 if found.is_passing else 1)


def test_only_a_vault_out_of_reach_and_a_password_in_change_pass() -> None:
    assert {meaning.kind for meaning in MEANINGS.values() if meaning.is_passing} == {"vault_unreachable", "changing"}


def test_what_passes_is_waited_for(vault: MockTenant) -> None:
    fail(vault, times=2, ccp_error="APPAP282E")
    assert secret(vault).read() == SECRET
    assert len(vault.requests) == 3


def test_the_inner_code_decides(vault: MockTenant) -> None:
    vault.configure(ccp={"serial_numbers": ["1234"]})
    error = failure(vault)
    assert error.code == "cyberark.not_authenticated"
    assert "(APPAP306E, APPAP133E)" in error.message
    assert f"CertificateSN [{vault.requests[0]['serial_number']}] is unauthorized" in error.message
    fail(vault, status=403, body={"ErrorCode": "APPAP999E", "ErrorMsg": "x: APPAP007E lost, see APPAP888E"})
    assert failure(vault).code == "cyberark.vault_unreachable"


@pytest.mark.parametrize("key", ["ErrorMsg", "ErrorMessage"])
def test_an_unknown_code_gets_cyberarks_own_words(vault: MockTenant, key: str) -> None:
    fail(vault, status=400, body={"ErrorCode": "APPAP005E", key: "Something\r\nodd"})
    error = failure(vault)
    assert error.code == "cyberark.failed"
    assert 'APPAP005E): it refused. It says: "Something  odd".' in error.message


@pytest.mark.parametrize(
    ("do", "code", "says"),
    [
        ({"status": 500}, "unavailable", "JSON that has no error code"),
        (
            {"status": 503, "body": "<html><TITLE>\n Service\n Unavailable </TITLE>"},
            "unavailable",
            "Service Unavailable",
        ),
        ({"status": 502, "body": ""}, "unavailable", "with nothing"),
        ({"html_200": True}, "not_ccp", 'an HTML page ("Proxy sign-in")'),
        ({"html_200": True, "bom": True}, "not_ccp", 'an HTML page ("Proxy sign-in")'),
        ({"status": 401, "body": "<html>no title</html>"}, "windows_login", "an HTML page:"),
        ({"status": 404}, "no_service", "JSON that has no error code"),
        ({"status": 302, "body": "", "headers": {"Location": "https://login.example/"}}, "not_ccp", "with nothing"),
        ({"bad_json": True}, "not_ccp", "something that is no JSON object"),
        ({"body": "[1]"}, "not_ccp", "something that is no JSON object"),
        ({"body": f'"{SECRET}"'}, "not_ccp", "something that is no JSON object"),
        ({"body": f"{SECRET}"}, "not_ccp", "something that is no JSON object"),
        ({"body": {"UserName": "x"}}, "no_content", "an account without a password"),
        ({"body": {"Content": ""}}, "no_content", "an account without a password"),
        ({"body": {"Content": None}}, "no_content", "an account without a password"),
    ],
)
def test_what_is_no_account_is_named_and_never_quoted(
    vault: MockTenant, do: dict[str, Any], code: str, says: str
) -> None:
    fail(vault, **do)
    error = failure(vault)
    assert (error.code, len(vault.requests)) == (f"cyberark.{code}", 1)
    assert says in error.message
    assert error.remedy


def test_utf16_is_named(vault: MockTenant) -> None:
    assert cyberark._kind_of("{}".encode("utf-16")) == "text in UTF-16"


def test_a_byte_order_mark_is_no_fault(vault: MockTenant) -> None:
    fail(vault, bom=True)
    assert secret(vault).read() == SECRET


def test_a_line_end_is_no_part_of_the_secret(vault: MockTenant) -> None:
    fail(vault, body={"Content": f" {SECRET} \r\n"})
    assert secret(vault).read() == f" {SECRET} "


@pytest.mark.parametrize("name", [None, "", "svc-wdatp", "22be…"])
def test_a_user_name_that_is_no_client_id(vault: MockTenant, name: str | None) -> None:
    vault.configure(ccp={"accounts": [{"Safe": "Defender", "UserName": name}]})
    source = secret(vault, object=None)
    with pytest.raises(VaultError, match="which is no client ID") as caught:
        source.client_id()
    assert caught.value.code == "cyberark.user_name"
    assert source.read() == SECRET


# --- the way there ----------------------------------------------------------------------------------------------------


def test_a_client_certificate_is_shown(vault: MockTenant, tmp_path: Path) -> None:
    none = {"client_cert": None, "client_key": None}
    vault.configure(ccp={"client_certificate": "required"})
    error = failure(vault, **none)
    assert error.code == "cyberark.certificate_refused"
    assert "403 - Forbidden: Access is denied." in error.message
    assert secret(vault).read() == SECRET
    vault.configure(ccp={"client_certificate": "demanded"})
    error = failure(vault, **none)
    assert error.code in ("network.tls", "network.broken")
    assert error.message.startswith("CyberArk CCP: ")
    assert "set client_cert and client_key" in error.remedy
    assert secret(vault).read() == SECRET
    both = tmp_path / "both.pem"
    ccp = definition(vault)
    both.write_bytes(Path(ccp["client_key"]).read_bytes() + Path(ccp["client_cert"]).read_bytes())
    assert secret(vault, client_cert=str(both), client_key=None).read() == SECRET


def test_client_certificates_that_cannot_serve(vault: MockTenant, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
        load_pem_private_key,
    )

    ccp = definition(vault)
    key = load_pem_private_key(Path(ccp["client_key"]).read_bytes(), None)
    locked = tmp_path / "locked.key"
    locked.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"pass")))
    garbage = tmp_path / "garbage"
    garbage.write_text("no PEM")
    for options in (
        {"client_cert": str(tmp_path / "missing")},
        {"client_key": str(tmp_path / "missing")},
        {"client_cert": str(garbage)},
        {"client_key": str(garbage)},
        {"client_key": str(locked)},
        {"client_key": vault.client_certificate_path},
        {"client_key": None},
    ):
        error = failure(vault, **options)
        assert error.code == "cyberark.client_cert"
        assert str(next(iter(options.values())) or ccp["client_cert"]) in error.message
    assert vault.requests == []


def test_the_ca_is_its_own(vault: MockTenant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for ca_path in (vault.ca_path, None):
        error = failure(vault, ca_path=ca_path)
        assert error.code == "network.tls_untrusted"
        assert "ca_path of the cyberark option" in error.remedy
    assert failure(vault, ca_path=str(tmp_path / "missing")).code == "network.ca_path"
    assert secret(vault, ca_path=None, validate_certs=False).read() == SECRET
    # What is said here wins over the environment, which counts where nothing is said.
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", vault.ca_path)
    assert secret(vault).read() == SECRET
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", definition(vault)["ca_path"])
    assert secret(vault, ca_path=None).read() == SECRET


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_no_proxy_is_used(vault: MockTenant, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "elsewhere.example")
    assert secret(vault).read() == SECRET


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("https://127.0.0.1:1", "network.refused"),
        ("https://no-such-host.invalid", "network.dns"),
    ],
)
def test_nobody_there(vault: MockTenant, url: str, code: str) -> None:
    error = failure(vault, url=url)
    assert error.code == code
    assert error.message.startswith("CyberArk CCP: ")
    assert "cyberark option" in error.remedy


def test_our_patience_is_longer_than_ccps() -> None:
    assert cyberark._http(account_of(GOOD)).timeout == 35
    assert cyberark._http(account_of({**GOOD, "connection_timeout": 60})).timeout == 65


def test_a_reset_is_explained(vault: MockTenant) -> None:
    fail(vault, reset=True)
    error = failure(vault)
    assert (error.code, len(vault.requests)) == ("network.broken", 2)
    assert "client certificate" in error.remedy


# --- what is kept -----------------------------------------------------------------------------------------------------


def test_it_is_asked_once_for_all_tenants(vault: MockTenant) -> None:
    source = secret(vault)
    for _number in range(1000):
        assert source.read() == SECRET
        assert not source.renew(source.read())
    assert len(vault.requests) == 2


def test_a_ccp_that_is_down_is_not_asked_for_each_tenant(vault: MockTenant, monkeypatch: pytest.MonkeyPatch) -> None:
    fail(vault, ccp_error="APPAP004E")
    source = secret(vault)
    for _number in range(1000):
        with pytest.raises(VaultError):
            source.read()
    assert len(vault.requests) == 1
    vault.set_faults([])
    monkeypatch.setattr(cyberark, "_BELIEVED_SECONDS", 0.0)
    assert source.read() == SECRET


@pytest.mark.parametrize("state", [True, "True", "true", False, "False"])
def test_a_password_in_change_is_given_some_time(
    vault: MockTenant, monkeypatch: pytest.MonkeyPatch, state: Any
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    account = {"Safe": "Defender", "Object": "wdatp-app", "PasswordChangeInProcess": state}
    vault.configure(ccp={"accounts": [account]})
    source = secret(vault)
    assert source.read() == SECRET
    vault.configure(client_secret="Qx8~new")
    assert source.renew(source.read())
    assert source.read() == "Qx8~new"
    assert waits == ([5.0] if str(state).lower() == "true" else [])
