# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ansible.module_utils.basic")

from ansible_collections.secops.defender.plugins.modules import wdatp_credential, wdatp_credential_info

TENANT, OTHER = "0f3c1f6e-8f2b-4f5e-9d6b-1c2d3e4f5a6b", "4b0d7a52-3c1e-4e8f-a7d9-5b6c7d8e9f01"
SECRET, NEW_SECRET = "Qx8~first/secret+value=", "Qx8~second/secret+value="
DEFINITION = {
    "name": "contoso",
    "tenant_id": TENANT,
    "client_id": "6d5c4b3a-2f1e-4d0c-8b9a-7f6e5d4c3b2a",
    "client_secret": SECRET,
}


@pytest.fixture
def credential(run_module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    monkeypatch.setenv("WDATP_CONFIG_DIR", str(tmp_path / "etc"))

    def run(check: bool = False, diff: bool = False, **options: Any) -> dict[str, Any]:
        return run_module(wdatp_credential.main, options, check, diff)

    return run


@pytest.fixture
def info(run_module: Any) -> Callable[..., list[dict[str, Any]]]:
    def run(**options: Any) -> list[dict[str, Any]]:
        return run_module(wdatp_credential_info.main, options)["credentials"]

    return run


def test_it_returns_what_it_stored(credential: Any, tmp_path: Path) -> None:
    result = credential(**DEFINITION)
    assert result["changed"] is True
    assert result["path"] == str(tmp_path / "etc" / "credentials" / "contoso.json")
    assert result["credential"]["secret"] == "file"
    assert "diff" not in result
    assert SECRET not in json.dumps(result)
    assert credential(**DEFINITION)["changed"] is False


def test_diff(credential: Any) -> None:
    diff = credential(diff=True, **DEFINITION)["diff"]
    assert diff["before"] == {}
    assert diff["after"]["name"] == "contoso"
    result = credential(check=True, diff=True, **{**DEFINITION, "client_secret": NEW_SECRET})
    assert result["changed"] is True
    assert result["diff"]["before"]["secret"] == "file"
    assert result["diff"]["after"]["secret"] == "file (new value)"
    result = credential(diff=True, name="contoso", state="absent")
    assert result["diff"]["after"] == {}
    assert "credential" not in result


def test_the_documented_sample_has_the_keys_of_the_result(credential: Any, info: Any) -> None:
    yaml = pytest.importorskip("yaml")
    result = credential(**DEFINITION)
    sample = yaml.safe_load(wdatp_credential.RETURN)["credential"]["sample"]
    assert set(sample) == set(result["credential"])
    assert set(yaml.safe_load(wdatp_credential_info.RETURN)["credentials"]["sample"][0]) == set(sample)
    assert info() == [result["credential"]]


def test_info_filters(credential: Any, info: Any) -> None:
    assert info() == []
    credential(**DEFINITION, organization="Contoso", hosts=["graph.microsoft.com"])
    credential(**{**DEFINITION, "name": "fabrikam"}, organization="Fabrikam")

    def names(**options: Any) -> list[str]:
        return [item["name"] for item in info(**options)]

    assert names() == ["contoso", "fabrikam"]
    assert names(name="fabrikam") == ["fabrikam"]
    assert names(name="nobody") == []
    assert names(name="") == ["contoso", "fabrikam"]
    assert names(host="graph.microsoft.com") == ["contoso"]
    assert names(organization="fabrikam") == ["fabrikam"]
    assert names(host="graph.microsoft.com", organization="fabrikam") == []


def test_info_reads_a_thousand_tenants(credential: Any, info: Any) -> None:
    for number in range(50):
        tenants = [
            {"tenant_id": f"{number:08x}-0000-4000-8000-{index:012x}", "organization": f"Customer {number}/{index}"}
            for index in range(20)
        ]
        credential(**{**DEFINITION, "name": f"msp{number}", "tenant_id": None, "tenants": tenants})
    assert sum(len(item["tenants"]) for item in info()) == 1000
    assert [item["name"] for item in info(organization="customer 7/19")] == ["msp7"]


def test_info_of_a_broken_store(credential: Any, run_module: Any, tmp_path: Path) -> None:
    credential(**DEFINITION)
    path = tmp_path / "etc" / "credentials" / "contoso.json"
    path.write_text("{")
    result = run_module(wdatp_credential_info.main, {})
    assert result["failed"] is True
    assert str(path) in result["msg"]
    assert result["error"]["code"] == "credential.broken"
