# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp.clouds import CLOUDS
from ansible_collections.secops.defender.plugins.module_utils._wdatp.config import (
    Connection,
    check_host,
    check_proxy,
    check_url,
    method_of,
    resolve,
    resolve_one,
)
from ansible_collections.secops.defender.plugins.module_utils._wdatp.definitions import define
from ansible_collections.secops.defender.plugins.module_utils._wdatp.errors import CredentialError, OptionError

TENANT, OTHER = "0f3c1f6e-8f2b-4f5e-9d6b-1c2d3e4f5a6b", "4b0d7a52-3c1e-4e8f-a7d9-5b6c7d8e9f01"
CLIENT = "6d5c4b3a-2f1e-4d0c-8b9a-7f6e5d4c3b2a"
SECRET = "Qx8~first/secret+value="
INLINE = {"tenant_id": TENANT, "client_id": CLIENT, "client_secret": SECRET}
ENVIRON = {"WDATP_TENANT_ID": OTHER, "WDATP_CLIENT_ID": CLIENT, "WDATP_CLIENT_SECRET": SECRET}
EXPORTER = "wdatp-alertexporter-us.windows.com"


@pytest.fixture
def etc(tmp_path: Path) -> str:
    return str(tmp_path / "etc")


def store(etc: str, name: str, **options: Any) -> None:
    define({"name": name, "config_dir": etc, **INLINE, **options}, environ={})


def one(environ: dict[str, str] | None = None, **options: Any) -> Connection:
    return resolve_one({"config_dir": "/nowhere", **options}, environ or {})


# --- whose identity


def test_inline() -> None:
    found = one(**INLINE)
    assert (found.identity.tenant_id, found.identity.client_id, found.identity.method) == (
        TENANT,
        CLIENT,
        "client_secret",
    )
    assert found.identity.secret is not None
    assert found.identity.secret.read() == SECRET
    assert SECRET not in repr(found)
    assert found.credential is None


def test_the_proxys_password_is_in_no_repr() -> None:
    assert "p%40ss-word" not in repr(one(proxy="http://carl:p%40ss-word@proxy:1", **INLINE))


def test_from_the_environment() -> None:
    found = one(ENVIRON)
    assert found.identity.tenant_id == OTHER
    assert one(ENVIRON, tenant_id=TENANT).identity.tenant_id == TENANT


def test_empty_means_not_given() -> None:
    assert one(ENVIRON, tenant_id="", credential="", host="").identity.tenant_id == OTHER


@pytest.mark.parametrize(
    ("given", "environ", "method"),
    [
        ({"client_secret": SECRET}, {}, "client_secret"),
        ({"client_certificate_path": "/x.pem"}, {}, "certificate"),
        ({"client_certificate_path": "/x.pem"}, {"WDATP_CLIENT_SECRET": SECRET}, "certificate"),
        ({"client_secret": SECRET}, {"WDATP_CLIENT_CERTIFICATE_PATH": "/x.pem"}, "client_secret"),
        ({"client_secret": SECRET}, {"AZURE_FEDERATED_TOKEN_FILE": "/x.jwt"}, "client_secret"),
        ({}, {"AZURE_FEDERATED_TOKEN_FILE": "/x.jwt"}, "workload_identity"),
        ({}, {"AZURE_FEDERATED_TOKEN_FILE": "/x.jwt", "WDATP_CLIENT_SECRET": SECRET}, "client_secret"),
        ({"auth_method": "auto"}, {"WDATP_CLIENT_CERTIFICATE_PATH": "/x.pem"}, "certificate"),
        ({"auth_method": "managed_identity"}, {"WDATP_CLIENT_SECRET": SECRET}, "managed_identity"),
        ({"client_secret": SECRET, "client_certificate_path": "/x"}, {}, "certificate"),
        (
            {"client_secret": SECRET, "client_certificate_path": "/x", "auth_method": "client_secret"},
            {},
            "client_secret",
        ),
    ],
)
def test_method(given: dict[str, str], environ: dict[str, str], method: str) -> None:
    found = one(environ, tenant_id=TENANT, client_id=CLIENT, **given)
    assert found.identity.method == method
    assert (found.identity.secret is not None) == (method == "client_secret")


def test_method_of() -> None:
    assert method_of(None, {}) == "client_secret"
    assert method_of("auto", {"federated_token_file": "/x"}) == "workload_identity"


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        ({}, "tenant_id, client_id, client_secret are"),
        ({"tenant_id": TENANT}, "client_id, client_secret are"),
        ({"tenant_id": TENANT, "client_id": CLIENT}, "client_secret is"),
        ({"auth_method": "certificate", "tenant_id": TENANT}, "client_id, client_certificate_path are"),
        ({"auth_method": "managed_identity"}, "tenant_id is"),
    ],
)
def test_what_is_missing(options: dict[str, str], missing: str) -> None:
    with pytest.raises(OptionError, match=f"No identity: {missing} missing") as caught:
        one(**options)
    assert "WDATP_" in caught.value.remedy


def test_nonsense_in_ids() -> None:
    with pytest.raises(OptionError, match="tenant_id: 'x'"):
        one(**{**INLINE, "tenant_id": "x"})
    with pytest.raises(OptionError, match="client_id: 'x'"):
        one(**{**INLINE, "client_id": "x"})


# --- stored credentials


def test_by_name(etc: str) -> None:
    store(etc, "contoso", organization="Contoso")
    found = one(ENVIRON, credential="contoso", config_dir=etc)
    assert (found.identity.tenant_id, found.credential, found.organization) == (TENANT, "contoso", "Contoso")


def test_the_directory_may_come_from_the_environment(etc: str) -> None:
    store(etc, "contoso")
    assert resolve_one({"credential": "contoso"}, {"WDATP_CONFIG_DIR": etc}).credential == "contoso"


def test_by_name_and_inline(etc: str) -> None:
    store(etc, "contoso")
    with pytest.raises(OptionError, match="together with tenant_id, client_id, client_secret"):
        one(credential="contoso", config_dir=etc, **INLINE)


def test_by_host(etc: str) -> None:
    store(etc, "contoso", hosts=[EXPORTER])
    found = one(host=EXPORTER.upper(), config_dir=etc)
    assert (found.credential, found.target.api) == ("contoso", "alert_exporter")
    assert one({"WDATP_HOST": EXPORTER}, config_dir=etc).credential == "contoso"
    # An identity that was given counts.
    assert one(host=EXPORTER, config_dir=etc, **INLINE).credential is None


def test_by_host_one_of_several(etc: str) -> None:
    store(etc, "contoso", hosts=[EXPORTER], organization="Contoso")
    store(etc, "fabrikam", hosts=[EXPORTER], organization="Fabrikam", tenant_id=OTHER)
    with pytest.raises(OptionError, match=r"contoso \(organization Contoso\); fabrikam \(organization Fabrikam\)"):
        one(host=EXPORTER, config_dir=etc)
    assert one(host=EXPORTER, organization="fabrikam", config_dir=etc).identity.tenant_id == OTHER
    assert one({"WDATP_ORGANIZATION": "Fabrikam"}, config_dir=etc).identity.tenant_id == OTHER


def test_no_stored_credential_fits(etc: str) -> None:
    store(etc, "contoso", hosts=[EXPORTER], organization="Contoso")
    with pytest.raises(OptionError, match=r"no stored credential fits the host graph\.microsoft\.com"):
        one(host="graph.microsoft.com", config_dir=etc)
    with pytest.raises(OptionError, match="no stored credential fits the organization Adatum"):
        one(organization="Adatum", config_dir=etc)
    assert one(ENVIRON, organization="Adatum", config_dir=etc).organization == "Adatum"


def test_an_unreadable_store_is_no_matter_where_the_environment_says_who(tmp_path: Path) -> None:
    (tmp_path / "etc").write_text("")
    etc = str(tmp_path / "etc")
    assert one(ENVIRON, host=EXPORTER, config_dir=etc).identity.tenant_id == OTHER
    with pytest.raises(CredentialError):
        one(host=EXPORTER, config_dir=etc)


def test_several_tenants(etc: str) -> None:
    tenants = [{"tenant_id": TENANT, "organization": "Contoso"}, {"tenant_id": OTHER, "organization": "Fabrikam"}]
    store(etc, "customers", tenant_id=None, tenants=tenants)
    found = resolve({"credential": "customers", "config_dir": etc}, {})
    assert [(item.identity.tenant_id, item.organization) for item in found] == [
        (TENANT, "Contoso"),
        (OTHER, "Fabrikam"),
    ]
    assert one(credential="customers", organization="FABRIKAM", config_dir=etc).organization == "Fabrikam"
    with pytest.raises(OptionError, match=rf"several tenants: Contoso \({TENANT}\), Fabrikam \({OTHER}\)"):
        one(credential="customers", config_dir=etc)
    with pytest.raises(OptionError, match="no organization 'Adatum'"):
        one(credential="customers", organization="Adatum", config_dir=etc)


def test_the_environments_organization_does_not_count_for_a_credential_with_its_own(etc: str) -> None:
    store(etc, "contoso", organization="Contoso")
    assert one({"WDATP_ORGANIZATION": "Adatum"}, credential="contoso", config_dir=etc).organization == "Contoso"


def test_a_workloads_token_may_come_from_the_environment(etc: str) -> None:
    store(etc, "workload", client_secret=None, auth_method="workload_identity")
    found = one({"AZURE_FEDERATED_TOKEN_FILE": "/x.jwt"}, credential="workload", config_dir=etc)
    assert (found.identity.method, found.identity.federated_token_file) == ("workload_identity", "/x.jwt")


def test_precedence(etc: str) -> None:
    """What was given, what the credential says, the environment, the default."""
    store(etc, "plain")
    store(etc, "gcc", cloud="gcc", validate_certs=False, proxy="http://own:1")
    environ = {"WDATP_CLOUD": "dod", "WDATP_PROXY": "http://environment:1", "WDATP_VALIDATE_CERTS": "no"}

    def settings(**options: Any) -> tuple[str, str | None, bool]:
        found = one(environ, config_dir=etc, **options)
        return found.target.cloud, found.http.proxy, found.http.validate_certs

    assert settings(credential="plain") == ("dod", "http://environment:1", False)
    assert settings(credential="gcc") == ("gcc", "http://own:1", False)
    assert settings(credential="gcc", cloud="gcc_high", proxy="p:2", validate_certs=True) == (
        "gcc_high",
        "http://p:2",
        True,
    )
    plain = one(config_dir=etc, credential="plain")
    assert (plain.target.cloud, plain.http.proxy, plain.http.validate_certs) == ("commercial", None, True)


# --- what is asked, and where


@pytest.mark.parametrize("cloud", CLOUDS)
@pytest.mark.parametrize("api", ["graph_alerts", "graph_incidents", "mde_alerts", "alert_exporter"])
def test_a_clouds_addresses(cloud: str, api: str) -> None:
    target = one(cloud=cloud, api=api, **INLINE).target
    assert target.api_url == f"https://{CLOUDS[cloud].hosts[api]}"
    assert target.authority_url == CLOUDS[cloud].authority
    assert target.scope == CLOUDS[cloud].scopes[api]
    assert target.is_microsoft


@pytest.mark.parametrize(
    ("options", "api", "cloud", "host"),
    [
        ({}, "graph_alerts", "commercial", "graph.microsoft.com"),
        ({"host": EXPORTER}, "alert_exporter", "commercial", EXPORTER),
        ({"host": "graph.microsoft.com", "cloud": "gcc"}, "graph_alerts", "gcc", "graph.microsoft.com"),
        ({"host": "graph.microsoft.com", "api": "graph_incidents"}, "graph_incidents", "commercial", None),
        ({"host": "dod-graph.microsoft.us"}, "graph_alerts", "dod", "dod-graph.microsoft.us"),
        ({"host": "eu.api.security.microsoft.com"}, "mde_alerts", "commercial", "eu.api.security.microsoft.com"),
        ({"host": "private.example:8443"}, "graph_alerts", "commercial", "private.example:8443"),
        ({"api_url": "https://mock:1/", "host": EXPORTER}, "alert_exporter", "commercial", "mock:1"),
    ],
)
def test_host_and_api(options: dict[str, str], api: str, cloud: str, host: str | None) -> None:
    target = one(**options, **INLINE).target
    assert (target.api, target.cloud, target.host) == (api, cloud, host or "graph.microsoft.com")


def test_a_host_outweighs_the_environments_api() -> None:
    assert one({"WDATP_API": "mde_alerts"}, host=EXPORTER, **INLINE).target.api == "alert_exporter"
    assert one({"WDATP_API": "graph_incidents"}, host="graph.microsoft.com", **INLINE).target.api == "graph_incidents"


@pytest.mark.parametrize(
    ("hosts", "options", "host", "api"),
    [
        ([EXPORTER], {}, EXPORTER, "alert_exporter"),
        ([EXPORTER, "wdatp-alertexporter-eu.windows.com"], {}, EXPORTER, "alert_exporter"),
        ([EXPORTER, "graph.microsoft.com"], {}, "graph.microsoft.com", "graph_alerts"),
        ([EXPORTER, "api.security.microsoft.com"], {"api": "mde_alerts"}, "api.security.microsoft.com", "mde_alerts"),
        ([EXPORTER], {"api": "graph_alerts"}, "graph.microsoft.com", "graph_alerts"),
        ([EXPORTER], {"host": "graph.microsoft.com"}, "graph.microsoft.com", "graph_alerts"),
        (["private.example"], {}, "private.example", "graph_alerts"),
    ],
)
def test_a_credentials_hosts(etc: str, hosts: list[str], options: dict[str, str], host: str, api: str) -> None:
    store(etc, "contoso", hosts=hosts)
    target = one(credential="contoso", config_dir=etc, **options).target
    assert (target.host, target.api) == (host, api)


def test_the_environments_host_is_one_of_the_credentials_or_none(etc: str) -> None:
    store(etc, "contoso", hosts=["eu.api.security.microsoft.com", "us.api.security.microsoft.com"], api="mde_alerts")

    def host(environ: dict[str, str]) -> str:
        return one(environ, credential="contoso", config_dir=etc).target.host

    assert host({}) == "eu.api.security.microsoft.com"
    assert host({"WDATP_HOST": "us.api.security.microsoft.com"}) == "us.api.security.microsoft.com"
    assert host({"WDATP_HOST": EXPORTER}) == "eu.api.security.microsoft.com"


def test_requests_per_minute() -> None:
    environ = {"WDATP_REQUESTS_PER_MINUTE": "90"}
    assert one(**INLINE).http.requests_per_minute is None
    assert one(environ, **INLINE).http.requests_per_minute == 90
    assert one(environ, requests_per_minute=7, **INLINE).http.requests_per_minute == 7


def test_overrides() -> None:
    target = one(
        api_url="https://127.0.0.1:8443/", authority_url="https://login.example", scope="api://x/.default", **INLINE
    ).target
    assert target.api_url == "https://127.0.0.1:8443"
    assert target.authority_url == "https://login.example"
    assert target.scope == "api://x/.default"
    assert not target.is_microsoft
    # The audience still comes from cloud and API.
    assert (
        one(api_url="https://mock:1", api="mde_alerts", **INLINE).target.scope
        == CLOUDS["commercial"].scopes["mde_alerts"]
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"host": EXPORTER, "api": "graph_alerts"}, "serves the API alert_exporter, not graph_alerts"),
        ({"host": "graph.microsoft.us", "cloud": "commercial"}, "belongs to the cloud gcc_high, not to commercial"),
        ({"host": "microsoftgraph.chinacloudapi.cn"}, "China"),
        ({"host": "https://graph.microsoft.com"}, "is not a host name"),
        ({"cloud": "china"}, "China"),
        ({"cloud": "moon"}, "no cloud 'moon'"),
        ({"api_url": "http://mock:1"}, "api_url: 'http://mock:1' is not an https address"),
        ({"authority_url": "https://login.example/tenant"}, "authority_url: .* has the path /tenant"),
        ({"timeout": 0}, "timeout: 0 is too small"),
        ({"retries": -1}, "retries: -1 is negative"),
        ({"requests_per_minute": 0}, "requests_per_minute: 0 is too small"),
        ({"ca_path": "/nowhere/ca.pem"}, "/nowhere/ca.pem does not exist"),
        ({"proxy": "socks5://x"}, "proxy"),
    ],
)
def test_contradictions(options: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionError, match=says) as caught:
        one(**options, **INLINE)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"WDATP_CLOUD": "moon"}, "WDATP_CLOUD is 'moon'"),
        ({"WDATP_CLOUD": "china"}, "WDATP_CLOUD: china: Microsoft offers none"),
        ({"WDATP_VALIDATE_CERTS": "maybe"}, "WDATP_VALIDATE_CERTS is 'maybe'"),
        ({"WDATP_AUTH_METHOD": "password"}, "WDATP_AUTH_METHOD is 'password'"),
        ({"WDATP_REQUESTS_PER_MINUTE": "many"}, "WDATP_REQUESTS_PER_MINUTE is 'many'"),
        ({"WDATP_REQUESTS_PER_MINUTE": "0"}, "requests_per_minute: 0 is too small"),
    ],
)
def test_nonsense_in_the_environment(environ: dict[str, str], says: str) -> None:
    with pytest.raises(OptionError, match=says):
        one(environ, **INLINE)


@pytest.mark.parametrize("text", ["a.example", "a", "10.0.0.1", "a.example:443"])
def test_hosts(text: str) -> None:
    assert check_host(text) == text


_BAD_HOSTS = ["", "a b", "a/b", "a.example.", "https://a", "a:443000", "a:65536", "a:0", "a\n", "u@a", "ä.example"]


@pytest.mark.parametrize("text", _BAD_HOSTS)
def test_bad_hosts(text: str) -> None:
    with pytest.raises(OptionError):
        check_host(text)


@pytest.mark.parametrize(
    "text", ["", "a.example", "ftp://a", "https://", "https://u:p@a", "https://a?x=1", "https://a#x", "https://a:99999"]
)
def test_bad_urls(text: str) -> None:
    with pytest.raises(OptionError):
        check_url(text, "api_url")


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        (None, None),
        ("", None),
        ("proxy:3128", "http://proxy:3128"),
        ("http://u:p@proxy:3128", "http://u:p@proxy:3128"),
        ("u:p@proxy", "http://u:p@proxy"),
    ],
)
def test_proxies(text: str | None, meaning: str | None) -> None:
    assert check_proxy(text) == meaning


@pytest.mark.parametrize("text", ["ftp://u:secret-1@proxy", "http://u:secret-1@", "http://u:secret-1@proxy:x"])
def test_bad_proxies(text: str) -> None:
    with pytest.raises(OptionError) as caught:
        check_proxy(text)
    assert "secret-1" not in str(caught.value)
