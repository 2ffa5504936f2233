# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every way to say who asks, from the definition to the alerts in the file. CyberArk's has a file of its own."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from harness import PlaybookRunner, Result
from pulls import (
    CREDENTIAL,
    addresses,
    assert_delivered,
    assert_no_secret,
    assert_no_token,
    assert_no_traceback,
    defaults,
    environment,
    pull,
    to,
    truth,
)

if TYPE_CHECKING:
    from mock_api import MockTenant

SECRET = 'Wq8~"right" secret\\/+&=%41\'ü'
TEST = "secops.defender.wdatp_test_connectivity"
CAN_SEAL = os.geteuid() == 0 and shutil.which("systemd-creds") is not None
WAYS = [
    "given",
    "environment",
    "stored",
    *(["stored and encrypted"] if CAN_SEAL else []),
    "loaded by the unit",
    "file",
    "details file",
    "PEM",
    "PFX",
    "workload",
    "virtual machine",
]


class Ways:
    """For each way a few tasks: perhaps a definition, then a pull into a file of its own."""

    def __init__(self, mock: MockTenant, place: Path, metadata: dict[str, str]) -> None:
        self.mock = mock
        self.place = place
        self.metadata = metadata
        self.app = {"tenant_id": mock.tenant_id, "client_id": mock.client_id}

    def path(self, way: str) -> Path:
        return self.place / f"{way}.jsonl"

    def pull(self, way: str, environ: dict[str, str] | None = None, **options: Any) -> dict[str, Any]:
        task = pull(way, **{**addresses(self.mock), **options}, destinations=to(self.path(way)))
        return {**task, "environment": environ} if environ else task

    def define(self, way: str, **options: Any) -> dict[str, Any]:
        values = {"name": way.replace(" ", "-"), **self.app, **addresses(self.mock), **options}
        return {"name": f"Define: {way}", CREDENTIAL: {key: item for key, item in values.items() if item is not None}}

    def stored(self, way: str, environ: dict[str, str] | None = None, **options: Any) -> list[dict[str, Any]]:
        name = way.replace(" ", "-")
        test = {"name": f"Test: {way}", TEST: {"credential": name}}
        return [
            self.define(way, **options),
            {**test, "environment": environ} if environ else test,
            self.pull(way, environ, credential=name),
        ]

    def tasks(self) -> Iterator[dict[str, Any]]:
        mock = self.mock
        yield self.pull("given", **self.app, client_secret=SECRET)
        yield self.pull("environment", environment(mock))
        yield from self.stored("stored", client_secret=SECRET, secret_storage="file")
        if CAN_SEAL:
            yield from self.stored("stored and encrypted", client_secret=SECRET, secret_storage="systemd_creds")
        yield from self._loaded()
        yield from self.stored("file", client_secret_file=self._file("secret.txt", SECRET + "\n"))
        yield from self.stored("details file", details_file=self._details(), tenant_id=None, client_id=None)
        yield from self.stored("PEM", client_certificate_path=mock.client_certificate_path)
        yield from self.stored(
            "PFX",
            client_certificate_path=mock.client_certificate_pfx_path,
            client_certificate_password=mock.client_certificate_password,
        )
        yield from self.stored("workload", federated_token_file=mock.federated_token_file)
        yield from self.stored("virtual machine", self.metadata, auth_method="managed_identity", client_id=None)

    def _loaded(self) -> list[dict[str, Any]]:
        """As systemd hands a credential to a service, whose user may not read the store's secrets."""
        loaded = self.place / "loaded"
        loaded.mkdir()
        (loaded / "loaded-by-the-unit.secret").write_text(json.dumps({"client_secret": SECRET}))
        return self.stored(
            "loaded by the unit", {"CREDENTIALS_DIRECTORY": str(loaded)}, client_secret="another", secret_storage="file"
        )

    def _file(self, name: str, text: str) -> str:
        path = self.place / name
        path.write_text(text)
        path.chmod(0o600)
        return str(path)

    def _details(self) -> str:
        login = f"https://login.microsoftonline.com/{self.mock.tenant_id}/oauth2/token"
        text = f"Client ID: {self.mock.client_id}\nClient secret: {SECRET}\nAuthorization server URL: {login}\n"
        return self._file("details.txt", text)


class Played(NamedTuple):
    mock: MockTenant
    place: Path
    result: Result


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory, collections_path: str) -> Iterator[Played]:
    """All ways in one play."""
    from mock_api import MockTenant, TenantConfig
    from mock_api.imds import MockImds

    place = tmp_path_factory.mktemp("identities")
    run = PlaybookRunner(place / "ansible", collections_path)
    with MockTenant(TenantConfig(alerts=60, client_secret=SECRET)) as mock, MockImds(mock) as imds:
        tasks = list(Ways(mock, place, imds.environment).tasks())
        result = run(tasks, play=defaults(place / "state", config_dir=str(place / "etc")))
        yield Played(mock, place, result)


@pytest.mark.parametrize("way", WAYS)
def test_alerts_arrive(played: Played, way: str) -> None:
    task = played.result[way]
    assert task.status == "changed", task.msg
    assert_delivered(played.place / f"{way}.jsonl", truth(played.mock))


@pytest.mark.parametrize("way", [way for way in WAYS if way not in ("given", "environment")])
def test_connectivity_says_so_too(played: Played, way: str) -> None:
    task = played.result[f"Test: {way}"]
    assert task.result["reachable"] is True, task.msg


def test_nothing_gets_out(played: Played) -> None:
    assert_no_secret(played.result, SECRET, played.mock.client_certificate_password)
    assert_no_token(played.result)
    assert_no_traceback(played.result)
