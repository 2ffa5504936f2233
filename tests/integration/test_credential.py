# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""wdatp_credential and wdatp_credential_info through a real ansible-playbook."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from harness import PlaybookRunner, Result

TENANT, OTHER = "0f3c1f6e-8f2b-4f5e-9d6b-1c2d3e4f5a6b", "4b0d7a52-3c1e-4e8f-a7d9-5b6c7d8e9f01"
CLIENT = "6d5c4b3a-2f1e-4d0c-8b9a-7f6e5d4c3b2a"
# With all that is written differently in URLs, in JSON and in YAML.
SECRET, NEW_SECRET = 'Qx8~first/"secret"+va\\lue=&%', 'Qx8~second/"secret"+va\\lue=&%'
# As it is written in an address, and as it is meant.
PROXY_PASSWORD, PROXY_PASSWORD_PLAIN = "p%40ss-w%2Brd-proxy", "p@ss-w+rd-proxy"
MODULE, INFO = "secops.defender.wdatp_credential", "secops.defender.wdatp_credential_info"
DEFAULTS = "group/secops.defender.wdatp"


def task(title: str, /, **options: Any) -> dict[str, Any]:
    """Define the credential `contoso`; the secret comes from a variable, as in a user's play."""
    given = {
        "name": "contoso",
        "tenant_id": TENANT,
        "client_id": CLIENT,
        "client_secret": "{{ secret }}",
        "config_dir": "{{ config_dir }}",
        **options,
    }
    return {"name": title, MODULE: {option: value for option, value in given.items() if value is not None}}


@pytest.fixture
def variables(config_dir: Path) -> dict[str, str]:
    return {"secret": SECRET, "new_secret": NEW_SECRET, "config_dir": str(config_dir)}


def files(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def assert_no_secret(result: Result, *secrets: str) -> None:
    """No secret is anywhere in what the run said, in whatever form."""
    said = result.output + json.dumps([item.result for item in result.tasks])
    for secret in secrets:
        data = secret.encode()
        forms = {
            secret,
            quote(secret, safe=""),
            quote(secret),
            quote_plus(secret),
            json.dumps(secret)[1:-1],
            json.dumps(json.dumps(secret)[1:-1])[1:-1],
            base64.b64encode(data).decode().rstrip("="),
            base64.urlsafe_b64encode(data).decode().rstrip("="),
            base64.b64encode(b"x" + data).decode()[2:-4],
            base64.b64encode(b"xx" + data).decode()[3:-4],
        }
        assert [form for form in forms if form in said] == []


def test_define_again_change_and_remove(
    run_playbook: PlaybookRunner, config_dir: Path, variables: dict[str, str]
) -> None:
    result = run_playbook(
        [
            task("Define", organization="Contoso", hosts=["graph.microsoft.com"]),
            task("Again", organization="Contoso", hosts=["graph.microsoft.com"]),
            task("New secret", organization="Contoso", hosts=["graph.microsoft.com"], client_secret="{{ new_secret }}"),
            task("Without secret", organization="Contoso", hosts=["graph.microsoft.com"], client_secret=None),
            task(
                "Old secret on create", client_secret="{{ secret }}", organization="Contoso", update_secret="on_create"
            ),
            {"name": "List", INFO: {"config_dir": str(config_dir)}},
            {"name": "Remove", MODULE: {"name": "contoso", "state": "absent", "config_dir": str(config_dir)}},
            {"name": "Remove again", MODULE: {"name": "contoso", "state": "absent", "config_dir": str(config_dir)}},
            {"name": "List nothing", INFO: {"config_dir": str(config_dir)}},
        ],
        variables=variables,
        verbosity=4,
        diff=True,
    ).ok()
    assert {item.name: item.result["changed"] for item in result.tasks} == {
        "Define": True,
        "Again": False,
        "New secret": True,
        "Without secret": False,
        # The hosts are gone, the secret stays.
        "Old secret on create": True,
        "List": False,
        "Remove": True,
        "Remove again": False,
        "List nothing": False,
    }
    defined = result["Define"].result
    assert defined["path"] == str(config_dir / "credentials" / "contoso.json")
    assert defined["credential"]["organization"] == "Contoso"
    assert defined["credential"]["secret"] == "file"
    (listed,) = result["List"].result["credentials"]
    assert listed == {**defined["credential"], "hosts": []}
    assert result["List nothing"].result["credentials"] == []
    assert files(config_dir) == {}
    assert result["New secret"].result["diff"]["after"]["secret"] == "file (new value)"
    assert_no_secret(result, SECRET, NEW_SECRET)


def test_the_secret_is_kept_as_it_is(run_playbook: PlaybookRunner, config_dir: Path, variables: dict[str, str]) -> None:
    run_playbook([task("Define")], variables=variables).ok()
    kept = config_dir / "secrets" / "contoso.secret"
    assert json.loads(kept.read_text("utf-8")) == {"client_secret": SECRET}
    assert (kept.stat().st_mode & 0o777, kept.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert "Qx8" not in (config_dir / "credentials" / "contoso.json").read_text("utf-8")


def test_check_mode_predicts(run_playbook: PlaybookRunner, config_dir: Path, variables: dict[str, str]) -> None:
    tasks = [
        task("Define", organization="Contoso"),
        task("Proxy", name="proxied", proxy="http://carl:{{ proxy_password }}@proxy.example:3128"),
    ]
    variables = {**variables, "proxy_password": PROXY_PASSWORD}
    predicted = run_playbook(tasks, variables=variables, check=True, diff=True, verbosity=4).ok()
    assert not config_dir.exists()
    real = run_playbook(tasks, variables=variables, diff=True, verbosity=4).ok()
    for name in ("Define", "Proxy"):
        for key in ("changed", "credential", "path", "diff"):
            assert predicted[name].result[key] == real[name].result[key]
    before = files(config_dir)
    again = run_playbook(tasks, variables=variables, check=True, verbosity=4).ok()
    assert [item.result["changed"] for item in again.tasks] == [False, False]
    changed = run_playbook([task("Define", client_secret="{{ new_secret }}")], variables=variables, check=True).ok()
    assert changed["Define"].result["changed"] is True
    assert files(config_dir) == before
    for result in (predicted, real, again):
        assert_no_secret(result, SECRET, PROXY_PASSWORD, PROXY_PASSWORD_PLAIN)


def test_several_tenants_and_module_defaults(
    run_playbook: PlaybookRunner, config_dir: Path, variables: dict[str, str]
) -> None:
    tenants = [{"tenant_id": TENANT, "organization": "Contoso"}, {"tenant_id": OTHER, "organization": "Fabrikam"}]
    result = run_playbook(
        [
            {
                "name": "Define",
                MODULE: {"name": "customers", "client_id": CLIENT, "client_secret": "{{ secret }}", "tenants": tenants},
            },
            {"name": "Find", INFO: {"organization": "fabrikam"}},
            {"name": "Find nobody", INFO: {"organization": "adatum"}},
        ],
        variables=variables,
        play={"module_defaults": {DEFAULTS: {"config_dir": str(config_dir)}}},
    ).ok()
    assert result["Define"].result["credential"]["tenants"] == tenants
    assert [item["name"] for item in result["Find"].result["credentials"]] == ["customers"]
    assert result["Find nobody"].result["credentials"] == []


def test_the_environment(run_playbook: PlaybookRunner, config_dir: Path) -> None:
    environment = {
        "WDATP_CONFIG_DIR": str(config_dir),
        "WDATP_TENANT_ID": TENANT,
        "WDATP_CLIENT_ID": CLIENT,
        "WDATP_CLIENT_SECRET": SECRET,
    }
    result = run_playbook([{"name": "Define", MODULE: {"name": "contoso"}}], environment, verbosity=4).ok()
    shown = result["Define"].result["credential"]
    assert (shown["tenant_id"], shown["client_id"], shown["secret"]) == (TENANT, CLIENT, "none")
    assert not any(SECRET.encode() in content for content in files(config_dir).values())
    assert_no_secret(result, SECRET)


def test_a_secret_in_a_file(
    run_playbook: PlaybookRunner, config_dir: Path, tmp_path: Path, variables: dict[str, str]
) -> None:
    own = tmp_path / "secret"
    own.write_text(SECRET + "\n", "utf-8")
    tasks = [task("Define", client_secret=None, client_secret_file=str(own))]
    assert run_playbook(tasks, variables=variables).ok()["Define"].result["changed"] is True
    again = run_playbook(tasks, variables=variables, verbosity=4).ok()
    assert again["Define"].result["changed"] is False
    assert again["Define"].result["credential"]["secret"] == "client_secret_file"
    assert list(files(config_dir)) == ["credentials/contoso.json"]
    assert_no_secret(again, SECRET)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"name": "../etc/passwd"}, "name: '../etc/passwd' can't be a credential's name. Use letters"),
        ({"tenant_id": "contoso"}, "tenant_id: 'contoso' is neither a GUID nor a domain name. Copy the Directory"),
        ({"client_id": "my app"}, "client_id: 'my app' is not a GUID. Copy the Application"),
        ({"tenant_id": None}, "tenant_id is missing. Give tenant_id"),
        ({"client_secret_file": "/run/secret"}, "client_secret is given together with client_secret_file."),
        ({"hosts": ["https://graph.microsoft.com/"]}, "Write only the name"),
        ({"api_url": "http://127.0.0.1"}, "api_url: 'http://127.0.0.1' is not an https address."),
        ({"proxy": "ftp://carl:{{ secret | urlencode }}@proxy"}, "proxy: the address is not usable."),
        ({"cloud": "china"}, "Microsoft offers none of these alert APIs in its China cloud"),
        ({"cloud": "moon"}, "value of cloud must be one of: commercial, gcc, gcc_high, dod, got: moon"),
    ],
)
def test_nonsense_says_what_to_change(
    run_playbook: PlaybookRunner, config_dir: Path, variables: dict[str, str], options: dict[str, Any], says: str
) -> None:
    result = run_playbook([task("Define", **options)], variables=variables, verbosity=4)
    assert result["Define"].status == "failed"
    assert says in result["Define"].msg
    assert "Traceback" not in result.output
    assert not config_dir.exists()
    assert_no_secret(result, SECRET)


def test_a_directory_that_cannot_be_written(
    run_playbook: PlaybookRunner, tmp_path: Path, variables: dict[str, str]
) -> None:
    # A file in the way, since tests may run as root, whom no mode stops.
    in_the_way = tmp_path / "file"
    in_the_way.write_text("", "utf-8")
    for check in (False, True):
        result = run_playbook([task("Define", config_dir=str(in_the_way / "etc"))], variables=variables, check=check)
        assert result["Define"].status == "failed"
        assert str(in_the_way) in result["Define"].msg
        assert "set config_dir to a directory of your own" in result["Define"].msg
        assert result["Define"].result["error"]["code"] == "credential.denied"
        assert "Traceback" not in result.output


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_without_rights(run_playbook: PlaybookRunner, tmp_path: Path, variables: dict[str, str]) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    result = run_playbook([task("Define", config_dir=str(closed / "etc"))], variables=variables)
    assert f"{closed}" in result["Define"].msg
    assert "Permission denied" in result["Define"].msg


def test_a_broken_store(run_playbook: PlaybookRunner, config_dir: Path, variables: dict[str, str]) -> None:
    run_playbook([task("Define")], variables=variables).ok()
    definition = config_dir / "credentials" / "contoso.json"
    definition.write_text("{", "utf-8")
    result = run_playbook(
        [
            {"name": "List", INFO: {"config_dir": str(config_dir)}, "ignore_errors": True},
            task("Define"),
            {"name": "List again", INFO: {"config_dir": str(config_dir)}},
        ],
        variables=variables,
    ).ok()
    assert f"The credential {definition} is broken" in result["List"].msg
    assert result["Define"].result["changed"] is True
    assert len(result["List again"].result["credentials"]) == 1


def test_the_secrets_id_is_warned_about(run_playbook: PlaybookRunner, variables: dict[str, str]) -> None:
    result = run_playbook([task("Define")], variables={**variables, "secret": OTHER}).ok()
    assert "looks like the secret's ID" in str(result["Define"].result["warnings"])
    assert OTHER not in result.output
