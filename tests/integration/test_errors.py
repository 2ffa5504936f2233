# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors as users meet them: a real ansible-playbook, and the message read.

Each says what is wrong and where, and what to change; none has a traceback or a secret in any form. All cases run in
one playbook, through the connectivity test and through a pull; each test then reads its own two tasks.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import certifi
import pytest
from harness import PlaybookRunner, Result
from mock_api import MockTenant, TenantConfig
from mock_api.proxy import MockProxy

SECRET = "Abc8Q~right/secret+value=& 1"
OLD_SECRET = "Xyz8Q~old/secret+value=& 2"
WRONG_SECRET = "Nop8Q~none/secret+value=& 3"
PROXY_PASSWORD = "Pr0xy~pass/word+value=& 4"
NOWHERE = "00000000-1111-2222-3333-444444444444"
TEST, PULL = "secops.defender.wdatp_test_connectivity", "secops.defender.wdatp_pull_events"


class World:
    """What the cases need to exist, each under a name."""

    def __init__(self, stack: ExitStack, directory: Path) -> None:
        self.directory = directory
        self._stack = stack
        self.good = self.mock(
            expired_secrets=[OLD_SECRET],
            foreign_tenants=["gov.example"],
            missing_resources=["https://graph.microsoft.us"],
        )
        self.proxies: dict[str, MockProxy] = {
            mode: stack.enter_context(MockProxy(mode=mode)) for mode in ("forbidden", "login_page", "negotiate")
        }
        self.proxies["password"] = stack.enter_context(MockProxy("user", "another one"))

    def mock(self, **knobs: Any) -> MockTenant:
        return self._stack.enter_context(MockTenant(TenantConfig(alerts=20, client_secret=SECRET, **knobs)))

    def file(self, name: str, text: str) -> str:
        path = self.directory / name
        path.write_text(text, encoding="utf-8")
        return str(path)


@dataclass
class Case:
    """`options` on top of the good ones; None takes one away. `words` have to be in the message."""

    name: str
    code: str
    words: tuple[str, ...]
    options: Callable[[World], dict[str, Any]] = lambda world: {}
    tenant: dict[str, Any] = field(default_factory=dict)
    environment: Callable[[World], dict[str, str]] = lambda world: {}
    # The pull meets the same fault at another place: its code, where that differs.
    pull_code: str = ""
    pull_words: tuple[str, ...] | None = None
    only: str = ""

    @property
    def modules(self) -> list[str]:
        # Options make no difference between modules: they share what reads them.
        return [self.only] if self.only else [TEST] if self.code.startswith("option.") else [TEST, PULL]

    def expected(self, module: str) -> tuple[str, tuple[str, ...]]:
        if module == TEST:
            return self.code, self.words
        return self.pull_code or self.code, self.words if self.pull_words is None else self.pull_words


def login_page(leg: str) -> dict[str, Any]:
    return {"faults": [{"match": {"leg": leg}, "do": {"html_200": True}}]}


def password_in(url: str) -> str:
    return url.replace("//", f"//user:{quote(PROXY_PASSWORD, safe='')}@")


# {host} is the mock tenant's, {tenant} its ID.
CASES = [
    # --- who asks
    Case(
        "wrong tenant",
        "auth.unknown_tenant",
        ("AADSTS90002", NOWHERE, "{host}", "Directory (tenant) ID"),
        lambda world: {"tenant_id": NOWHERE},
    ),
    Case(
        "wrong secret",
        "auth.invalid_secret",
        ("AADSTS7000215", "{tenant}", "{host}", "Certificates & secrets"),
        lambda world: {"client_secret": WRONG_SECRET},
    ),
    Case(
        "secret's ID in place of its value",
        "auth.secret_id",
        ("AADSTS7000215", "looks like a secret's ID", "column Value"),
        lambda world: {"client_secret": world.good.client_secret_id},
    ),
    Case(
        "expired secret",
        "auth.expired_secret",
        ("AADSTS7000222", "has expired", "make a new client secret"),
        lambda world: {"client_secret": OLD_SECRET},
    ),
    Case(
        "wrong app",
        "auth.unknown_app",
        ("AADSTS700016", NOWHERE, "client_id"),
        lambda world: {"client_id": NOWHERE},
    ),
    Case(
        "missing permission",
        "api.forbidden",
        ("has Other.Read.All, needs SecurityAlert.Read.All", "Microsoft Graph", "grant admin consent"),
        tenant={"roles": {"graph": ["Other.Read.All"]}},
        pull_words=("403", "Other.Read.All", "SecurityAlert.Read.All", "Microsoft Graph", "grant admin consent"),
    ),
    Case(
        "token without roles",
        "api.forbidden",
        ("has no roles, needs SecurityAlert.Read.All", "grant admin consent"),
        tenant={"roles": {"graph": []}},
        pull_words=("403", "roles in the token: none", "SecurityAlert.Read.All", "grant admin consent"),
    ),
    Case(
        "no consent in this tenant",
        "auth.unknown_app",
        ("AADSTS700016", "grant consent"),
        tenant={"unconsented_tenants": ["contoso.example"]},
    ),
    Case(
        "certificate file missing",
        "credential.certificate",
        ("/nonexistent/app.pem", "No such file", "client_certificate_path"),
        lambda world: {"client_secret": None, "client_certificate_path": "/nonexistent/app.pem"},
    ),
    Case(
        "certificate file is none",
        "credential.certificate",
        ("nonsense.pem", "neither PEM nor PFX"),
        lambda world: {"client_secret": None, "client_certificate_path": world.file("nonsense.pem", "hello")},
    ),
    Case(
        "certificate password wrong",
        "credential.certificate",
        ("client.pfx", "password is wrong", "client_certificate_password"),
        lambda world: {
            "client_secret": None,
            "client_certificate_path": world.good.client_certificate_pfx_path,
            "client_certificate_password": WRONG_SECRET,
        },
    ),
    # --- where
    Case(
        "wrong cloud",
        "auth.wrong_cloud",
        ("AADSTS90038", "gov.example", "another cloud than commercial", "gcc_high"),
        lambda world: {"tenant_id": "gov.example"},
    ),
    Case(
        "resource of another cloud",
        "auth.unknown_resource",
        ("AADSTS500011", "https://graph.microsoft.us", "cloud"),
        lambda world: {"cloud": "gcc_high"},
    ),
    Case(
        "host of another cloud",
        "option.conflict",
        ("graph.microsoft.us", "gcc_high", "Set cloud"),
        lambda world: {"host": "graph.microsoft.us", "cloud": "commercial", "api_url": None},
    ),
    Case(
        "China",
        "option.china",
        ("China",),
        lambda world: {"host": "microsoftgraph.chinacloudapi.cn", "api_url": None},
    ),
    Case(
        "host of another API",
        "option.conflict",
        ("graph.microsoft.com", "mde_alerts"),
        lambda world: {"host": "graph.microsoft.com", "api": "mde_alerts", "api_url": None},
    ),
    Case(
        "wrong host",
        "api.not_found",
        ("404", "{host}", "Check host"),
        tenant={"faults": [{"match": {"leg": "api"}, "do": {"status": 404}}]},
    ),
    Case(
        "token for another API",
        "api.unauthorized",
        ("401", "https://api.securitycenter.microsoft.com/.default", "scope"),
        lambda world: {"scope": "https://api.securitycenter.microsoft.com/.default"},
        # The test looks at the roles first.
        only=PULL,
    ),
    # --- the network
    Case(
        "no DNS for the API",
        "network.dns",
        ("graph.microsoft.invalid is not known to DNS", "api_url"),
        lambda world: {"api_url": "https://graph.microsoft.invalid"},
    ),
    Case(
        "no DNS for the login",
        "network.dns",
        ("login.invalid is not known to DNS", "authority_url"),
        lambda world: {"authority_url": "https://login.invalid"},
    ),
    Case(
        "refused",
        "network.refused",
        ("127.0.0.1:1 refused the connection", "firewall"),
        lambda world: {"api_url": "https://127.0.0.1:1"},
    ),
    Case(
        "untrusted TLS",
        "network.tls_untrusted",
        ("{host}", "not trusted", "REQUESTS_CA_BUNDLE (" + certifi.where() + ")", "Set ca_path"),
        lambda world: {"ca_path": None},
        environment=lambda world: {"REQUESTS_CA_BUNDLE": certifi.where()},
    ),
    Case(
        "certificate of another name",
        "network.tls_name",
        ("{host}", "another name", "for wrong.example"),
        tenant={"server_certificate": "wrong_name"},
        pull_words=("{host}", "another name", "host or api_url"),
    ),
    Case(
        "expired server certificate",
        "network.tls_expired",
        ("{host}", "has expired", "clock"),
        tenant={"server_certificate": "expired"},
    ),
    Case(
        "CA file that is none",
        "network.ca_path",
        ("ca_path", "nonsense-ca.pem", "PEM"),
        lambda world: {"ca_path": world.file("nonsense-ca.pem", "hello")},
    ),
    # --- a proxy in the way
    Case(
        "proxy wants a password",
        "network.proxy_auth",
        ("127.0.0.1:", "(407)", "user:password@host:port"),
        lambda world: {"proxy": password_in(f"http://{world.proxies['password'].address}")},
    ),
    Case(
        "proxy wants another scheme",
        "network.proxy_auth",
        ("127.0.0.1:", "(407)"),
        lambda world: {"proxy": world.proxies["negotiate"].url},
    ),
    Case(
        "proxy refuses the tunnel",
        "network.proxy",
        ("The proxy 127.0.0.1:", "refused the connection to {host} (403)", "allowed on the proxy"),
        lambda world: {"proxy": world.proxies["forbidden"].url},
    ),
    Case(
        "proxy's sign-in page in place of the tunnel",
        "network.tls",
        ("{host} through the proxy 127.0.0.1:", "sign-in page"),
        lambda world: {"proxy": world.proxies["login_page"].url},
    ),
    Case(
        "proxy is not there",
        "network.proxy",
        ("The proxy 127.0.0.1:1 can't be reached", "HTTPS_PROXY"),
        # No password here: Ansible itself shows what `environment` sets, when asked to be verbose.
        environment=lambda world: {"HTTPS_PROXY": "http://127.0.0.1:1"},
    ),
    Case(
        "sign-in page in place of alerts",
        "network.not_json",
        ("{host}", "<!DOCTYPE html>", "proxy"),
        tenant=login_page("api"),
    ),
    Case(
        "sign-in page in place of a token",
        "network.not_entra",
        ("{host}", "<!DOCTYPE html>", "proxy"),
        tenant=login_page("token"),
    ),
    # --- the clock
    Case(
        "clock that is off",
        "auth.clock",
        ("behind Microsoft's", "certificate", "clock right"),
        lambda world: {"client_secret": None, "client_certificate_path": True},
        tenant={"clock_skew_seconds": 1000},
        pull_words=("AADSTS700024", "this host's clock", "clock right"),
    ),
    # --- nonsense in options
    Case(
        "no identity", "option.missing", ("client_secret", "WDATP_CLIENT_SECRET"), lambda world: {"client_secret": None}
    ),
    Case(
        "credential and identity",
        "option.conflict",
        ("credential", "tenant_id", "not both"),
        lambda world: {"credential": "contoso"},
    ),
    Case("tenant_id", "option.invalid", ("tenant_id", "'not a tenant'"), lambda world: {"tenant_id": "not a tenant"}),
    Case("client_id", "option.invalid", ("client_id", "'1234'", "GUID"), lambda world: {"client_id": "1234"}),
    Case("api_url", "option.invalid", ("api_url", "https"), lambda world: {"api_url": "http://127.0.0.1"}),
    Case(
        "host is a URL",
        "option.invalid",
        ("host", "without https://"),
        lambda world: {"host": "https://graph.microsoft.com/v1.0", "api_url": None},
    ),
    Case("proxy", "option.invalid", ("proxy", "http://host:port"), lambda world: {"proxy": "ftp://127.0.0.1"}),
    Case("timeout", "option.invalid", ("timeout", "at least 1"), lambda world: {"timeout": 0}),
    Case("retries", "option.invalid", ("retries", "0 or more"), lambda world: {"retries": -1}),
    Case(
        "ca_path missing",
        "option.invalid",
        ("ca_path", "/nonexistent/ca.pem", "does not exist"),
        lambda world: {"ca_path": "/nonexistent/ca.pem"},
    ),
    Case(
        "since",
        "option.invalid",
        ("since", "'yesterday'", "15m"),
        lambda world: {"since": "yesterday"},
        only=PULL,
    ),
    Case("severity", "option.invalid", ("severity", "'urgent'"), lambda world: {"severity": ["urgent"]}, only=PULL),
    Case(
        "environment",
        "option.invalid",
        ("WDATP_CLOUD", "'venus'", "gcc_high"),
        environment=lambda world: {"WDATP_CLOUD": "venus"},
    ),
]


def title(case: Case, module: str) -> str:
    return f"{case.name} ({module.rsplit('_', 1)[-1]})"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with ExitStack() as stack:
        yield World(stack, tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def tenants(world: World) -> dict[str, MockTenant]:
    return {case.name: world.mock(**case.tenant) if case.tenant else world.good for case in CASES}


@pytest.fixture(scope="module")
def played(
    world: World, tenants: dict[str, MockTenant], tmp_path_factory: pytest.TempPathFactory, collections_path: str
) -> Result:
    """One playbook with all cases, shown as verbosely as somebody looking for the reason would."""
    directory = tmp_path_factory.mktemp("play")
    tasks = [
        {"name": title(case, module), module: options, "environment": case.environment(world), "ignore_errors": True}
        for case in CASES
        for module in case.modules
        for options in [task_options(case, module, world, tenants[case.name], directory)]
    ]
    return PlaybookRunner(directory, collections_path)(tasks, verbosity=3)


def task_options(case: Case, module: str, world: World, tenant: MockTenant, directory: Path) -> dict[str, Any]:
    known = {
        "tenant_id": tenant.tenant_id,
        "client_id": tenant.client_id,
        "client_secret": SECRET,
        "api_url": tenant.url,
        "authority_url": tenant.url,
        "ca_path": tenant.ca_path,
        "retries": 1,
        "config_dir": str(directory / "etc"),
    }
    if module == PULL:
        known["state_dir"] = str(directory / "lib" / case.name)
    given = {**known, **case.options(world)}
    if given.get("client_certificate_path") is True:
        given["client_certificate_path"] = tenant.client_certificate_path
    return {name: value for name, value in given.items() if value is not None}


@pytest.mark.parametrize(
    ("case", "module"),
    [pytest.param(case, module, id=title(case, module)) for case in CASES for module in case.modules],
)
def test_the_message(case: Case, module: str, tenants: dict[str, MockTenant], played: Result) -> None:
    tenant = tenants[case.name]
    task = played[title(case, module)]
    code, words = case.expected(module)
    assert task.status == "ignored", task.result
    error = task.result["error"]
    assert error["code"] == code, task.msg
    for word in words:
        assert word.format(host=tenant.url[8:], tenant=tenant.tenant_id) in task.msg
    # Something to do, and no more to read than somebody wants to read at night.
    assert error["remedy"]
    assert error["remedy"] in task.msg
    assert len(task.msg) < 700
    assert len(re.findall(r"[.?!](?:\s|$)", task.msg)) <= 5


def forms(secret: str) -> set[str]:
    """A secret as it may show: as it is, in addresses, and in base64 wherever it begins."""
    found = {secret, quote(secret), quote(secret, safe=""), quote_plus(secret)}
    for lead in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            # Without the characters at both ends that depend on what stands next to it.
            found.add(encode(b"\0" * lead + secret.encode()).decode().rstrip("=")[4:-2])
    return found


def test_no_secret_is_shown(world: World, tenants: dict[str, MockTenant], played: Result) -> None:
    text = played.output + "".join(str(task.result) for task in played.tasks)
    assert len(played.tasks) > 60
    for secret in (SECRET, OLD_SECRET, WRONG_SECRET, PROXY_PASSWORD, world.good.client_secret_id):
        for form in forms(secret):
            assert form not in text
    # Neither is any token or assertion.
    assert "eyJ" not in text


def test_no_traceback_is_shown(played: Result) -> None:
    assert "Traceback" not in played.output
    assert not [task.name for task in played.tasks if "Traceback" in str(task.result)]
    assert "A bug in this collection" not in played.output


def test_nothing_is_left_half_done(played: Result, tenants: dict[str, MockTenant]) -> None:
    for task in played.tasks:
        assert task.result.get("changed", False) is False, task.name
        assert task.result.get("written", 0) == 0, task.name
