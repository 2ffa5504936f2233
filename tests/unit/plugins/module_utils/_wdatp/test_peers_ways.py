# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What users of other collectors met on the way to Microsoft: secrets, clocks, proxies, clouds. See test_peers.py."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp import connectivity
from ansible_collections.secops.defender.plugins.module_utils._wdatp.clouds import CLOUDS
from ansible_collections.secops.defender.plugins.module_utils._wdatp.config import resolve_one
from ansible_collections.secops.defender.plugins.module_utils._wdatp.definitions import define
from ansible_collections.secops.defender.plugins.module_utils._wdatp.errors import OptionError
from ansible_collections.secops.defender.plugins.module_utils._wdatp.redact import Redactor
from ansible_collections.secops.defender.plugins.module_utils._wdatp.transport import Transport
from fault_job import ALL, Job, reset
from mock_api import MockTenant
from mock_api.proxy import MockProxy

Make = Callable[..., Job]
NASTY_SECRETS = [
    "a+b/c&d=e%f#g h",
    "Pä8~p/w+&=\"%'\\ 7",
    "%41%2B%26 not encoded",
    "+++",
    "a=b&client_id=c&grant_type=d",
    "ключ-密码-🔑",
    "~Q8.-_x~",
    "'; DROP TABLE secret; --",
    "{{ lookup('pipe', 'id') }}",
]


def sent(secret: str) -> list[str]:
    """How a secret may come back in an answer, by other means than the engine's own."""
    data = secret.encode()
    forms = [secret, quote(secret), quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1]]
    forms += [json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]]
    # Also as the password of Basic authentication, behind a user name.
    return forms + [base64.b64encode(before + data).decode() for before in (b"", b"u:", b"id:")]


def shown(secret: str) -> list[str]:
    """The same without what surrounds it: the ends of its base64."""
    return [form[4:-4] if form.endswith("=") or form.isalnum() else form for form in sent(secret)]


def on_disk(path: Path) -> dict[str, bytes]:
    return {str(item): item.read_bytes() for item in sorted(path.rglob("*")) if item.is_file()}


def test_peer_08_the_secret_is_in_clear_text(
    nasty: MockTenant, job: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No secret and no token is in a result, a message, a warning, the store, the lock or an event, in any encoding.

    Seen: wazuh/wazuh#35859
    """
    bearers: set[str] = set()
    real = Transport.request

    def request(self: Transport, *args: Any, **named: Any) -> Any:
        bearers.update({named["bearer"]} if named.get("bearer") else ())
        return real(self, *args, **named)

    monkeypatch.setattr(Transport, "request", request)
    secret = NASTY_SECRETS[1]
    reset(nasty, secrets=[secret])
    made = job(client_secret=secret)
    texts: list[str] = []
    # Also with events that wait in the outbox, and with answers that repeat what they were sent.
    result, error = made.fail(destinations=[{"path": str(made.state / "missing" / "events")}])
    texts += [json.dumps(result), str(error), error.remedy]
    made.run()
    (token,) = {bearer for bearer in bearers if nasty.tokens.verify(bearer)} if len(bearers) == 1 else {max(bearers)}
    for leg, words in (("token", secret), ("api", secret), ("api", token)):
        for text in sent(words):
            body = {"error": {"code": "Bad", "message": f"You sent {text}."}}
            if leg == "token":
                body = {"error": "invalid_client", "error_description": f"AADSTS7000215: You sent {text}."}  # type: ignore[dict-item]
            nasty.set_faults([{"match": {"leg": leg}, "do": {"status": 400, "body": body}}])
            # What was refused may be asked again.
            made.later += 2 * 86_400
            asked = len(nasty.requests)
            result, error = made.fail()
            texts += [json.dumps(result), str(error), error.remedy]
            assert nasty.requests[asked:][-1]["status"] == 400
    texts += made.said
    assert len(bearers) >= 2
    files = on_disk(tmp_path)
    assert len(files) >= 3
    for word in (secret, *bearers):
        for form in shown(word):
            assert not [text for text in texts if form in text], form
            assert not [name for name, text in files.items() if form.encode() in text], form


def test_peer_10_a_wrong_credential_hammers_until_it_is_blocked(nasty: MockTenant, job: Make) -> None:
    """After a refusal for good, later runs ask again a minute later, then ever more rarely; a repair counts at once.

    Seen: OpenCTI-Platform/connectors#5184
    """
    made = job(client_secret="not the secret", retries=5)

    def asked() -> int:
        return [entry["leg"] for entry in nasty.requests].count("token")

    for _run in range(5):
        _result, error = made.fail()
        assert error.code == "auth.invalid_secret"
        assert "client secret" in error.remedy.lower()
    assert asked() == 1
    assert made.slept == []
    # A run every ten minutes for half a day.
    for minute in range(0, 12 * 60, 10):
        made.later = minute * 60.0
        made.fail()
    assert asked() < 20
    before = asked()
    assert made.run(client_secret=nasty.client_secret)["complete"]
    assert asked() == before + 1
    made.check()


@pytest.mark.parametrize("secret", NASTY_SECRETS)
def test_peer_11_secrets_with_special_characters_fail(
    nasty: MockTenant, job: Make, tmp_path: Path, secret: str
) -> None:
    """A secret goes url-encoded into the form, so every character arrives: given in the task or stored in a file.

    Seen: MicrosoftDocs/azure-docs#30467 MicrosoftDocs/azure-docs#39037
    """
    reset(nasty, alerts=2, secrets=[secret])
    made = job(client_secret=secret)
    assert made.run()["written"] == 2
    stored = {"name": "x", "config_dir": str(tmp_path / "etc"), "secret_storage": "file", "client_secret": secret}
    define({**stored, "tenant_id": nasty.tenant_id, "client_id": nasty.client_id}, environ={})
    again = made.run(credential="x", tenant_id=None, client_id=None, client_secret=None)
    assert again["complete"]
    assert {entry["status"] for entry in nasty.requests if entry["leg"] == "token"} == {200}


@pytest.mark.parametrize("api", ["graph_alerts", "mde_alerts", "alert_exporter"])
@pytest.mark.parametrize("cloud", sorted(CLOUDS))
def test_peer_21_the_hosts_of_the_government_clouds_are_hard_to_find(
    nasty: MockTenant, job: Make, cloud: str, api: str
) -> None:
    """`cloud` alone sets login host, API host and the token's scope, which belong together; a mixture is refused.

    Seen: MicrosoftDocs/windows-itpro-docs#8311 MicrosoftDocs/windows-itpro-docs#6966
    """
    reset(nasty, alerts=2)
    login, host = CLOUDS[cloud].authority.removeprefix("https://"), CLOUDS[cloud].hosts[api]
    # The documented hosts, not only those of our own table.
    assert login == ("login.microsoftonline.us" if cloud in ("gcc_high", "dod") else "login.microsoftonline.com")
    if api == "graph_alerts":
        assert host == {"gcc_high": "graph.microsoft.us", "dod": "dod-graph.microsoft.us"}.get(
            cloud, "graph.microsoft.com"
        )
    with MockProxy(route_to=nasty.url) as proxy:
        made = job(api=api, cloud=cloud, proxy=proxy.url, api_url=None, authority_url=None)
        assert made.run()["written"] >= 2
        assert {entry["target"] for entry in proxy.tunnels} == {f"{login}:443", f"{host}:443"}
    (asked,) = [entry["form"] for entry in nasty.requests if entry["leg"] == "token"]
    assert asked["scope"] == CLOUDS[cloud].scopes[api]
    # GCC and the commercial cloud share Graph, and so do the two others with the Defender for Endpoint API.
    other = CLOUDS["gcc_high" if cloud in ("commercial", "gcc") else "commercial"]
    with pytest.raises(OptionError) as caught:
        made.run(host=other.hosts[api])
    assert other.hosts[api] in caught.value.message


@pytest.mark.parametrize("skew", [900, -900])
def test_peer_22_the_client_assertion_is_outside_its_time_range(nasty: MockTenant, job: Make, skew: int) -> None:
    """A login that fails for the clock is `auth.clock`, and its remedy says by how much this host's clock is off.

    Seen: AzureAD/microsoft-authentication-library-for-java#984 Azure/login#180
    """
    made = job(client_secret=None, client_certificate_path=nasty.client_certificate_path)
    assert made.run()["complete"]
    nasty.configure(clock_skew_seconds=skew)
    report = connectivity.test(resolve_one({n: v for n, v in made.options.items() if v is not None}, {}), Redactor())
    assert abs((report.clock_skew_seconds or 0) + skew) <= 2
    words = f"{abs(report.clock_skew_seconds or 0)} s {'behind' if skew > 0 else 'ahead of'}"
    assert any(words in stage.detail for stage in report.stages)
    if skew > 0:
        # An assertion of a clock that is ahead has still some time to go.
        _result, error = made.fail()
        assert error.code == "auth.clock"
        assert words in error.remedy
    # A secret has no time range: the same host can sign in with it, and asks for the right window.
    nasty.add_alerts(1)
    result = made.run(client_secret=nasty.client_secret, client_certificate_path=None)
    assert (result["complete"], result["new"]) == (True, 1)
    made.check()


@pytest.mark.parametrize("api", ALL)
def test_peer_23_the_proxys_password_has_special_characters(nasty: MockTenant, job: Make, api: str) -> None:
    """User and password of a proxy are decoded from its address and sent as they are, on the way to both hosts.

    Seen: AzureAD/microsoft-authentication-library-for-python#497
    """
    reset(nasty, alerts=3)
    user, password = "corp\\jürgen", "p@ss:w/rd %#&+=?"
    with MockProxy(username=user, password=password, route_to=nasty.url) as proxy:
        made = job(api=api, proxy=proxy.url, api_url=None, authority_url=None)
        assert made.run()["complete"]
        tunnels = proxy.tunnels
    assert {entry["user"] for entry in tunnels} == {user}
    assert {entry["status"] for entry in tunnels} == {200}
    assert len({entry["target"] for entry in tunnels}) == 2
    made.check()
    wrong = quote("not the " + password, safe="")
    with MockProxy(username=user, password=password, route_to=nasty.url) as proxy:
        _result, error = made.fail(proxy=f"http://{quote(user)}:{wrong}@{proxy.address}")
    assert error.code == "network.proxy_auth"
    assert not [form for form in (password, wrong) if form in str(error) + error.remedy]
