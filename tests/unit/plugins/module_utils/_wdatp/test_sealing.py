# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets encrypted with the host's own key: with the real systemd-creds where it is there, and with one that fails."""

from __future__ import annotations

import base64
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp import definitions, sealing
from ansible_collections.secops.defender.plugins.module_utils._wdatp.credentials import CredentialStore
from ansible_collections.secops.defender.plugins.module_utils._wdatp.definitions import Outcome, define
from ansible_collections.secops.defender.plugins.module_utils._wdatp.errors import CredentialError

SECRET = "Ab8Q~canary+/ %&\"\\'$(id)ü"
GUID = "0f3c1f6e-8f2b-4f5e-9d6b-1c2d3e4f5a6b"

Define = Callable[..., Outcome]


def can_seal() -> bool:
    try:
        sealing.check_possible()
        sealing.unseal("x", os.devnull)
    except CredentialError as error:
        return "decrypted" in error.message and os.geteuid() == 0
    return True


needs_systemd = pytest.mark.skipif(not can_seal(), reason="needs systemd-creds, and root")


@pytest.fixture
def defined(tmp_path: Path) -> Define:
    """defined(client_secret=…, check=True, …) -> what came of it."""

    def run(check: bool = False, **options: Any) -> Outcome:
        values = {"name": "contoso", "config_dir": str(tmp_path), "tenant_id": GUID, "client_id": GUID}
        return define({**values, "secret_storage": "systemd_creds", **options}, check=check, environ={})

    return run


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """program(script) -> a directory in which a false systemd-creds notes its arguments."""

    def make(script: str) -> Path:
        place = tmp_path / "bin"
        place.mkdir(exist_ok=True)
        path = place / "systemd-creds"
        path.write_text(
            f'#!/bin/sh\nPATH=/usr/bin:/bin\necho "$@" >>{place}/arguments\nenv >>{place}/arguments\n{script}\n'
        )
        path.chmod(0o755)
        monkeypatch.setattr(sealing, "_PLACES", str(place))
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        return place

    return make


def secrets_of(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "secrets").iterdir())


def read_back(tmp_path: Path) -> str:
    return CredentialStore(str(tmp_path)).load("contoso").secret_source().read()


# --- with the real one ---------------------------------------------------------------------------------------------


@needs_systemd
def test_secret_is_encrypted_and_read_back(defined: Define, tmp_path: Path) -> None:
    outcome = defined(client_secret=SECRET)
    assert outcome.changed
    assert outcome.credential["secret"] == "systemd_creds"
    assert secrets_of(tmp_path) == ["contoso.cred"]
    path = tmp_path / "secrets" / "contoso.cred"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for form in (SECRET.encode(), json.dumps(SECRET).encode()):
        assert form not in path.read_bytes()
        assert form not in base64.b64decode(path.read_bytes())
    assert read_back(tmp_path) == SECRET


@needs_systemd
def test_same_input_changes_nothing_although_each_encryption_differs(defined: Define, tmp_path: Path) -> None:
    defined(client_secret=SECRET)
    before = (tmp_path / "secrets" / "contoso.cred").read_bytes()
    assert not defined(client_secret=SECRET).changed
    assert not defined(client_secret=SECRET, check=True).changed
    assert not defined().changed
    assert (tmp_path / "secrets" / "contoso.cred").read_bytes() == before
    other = defined(client_secret="another", check=True)
    assert other.changed
    assert other.after["secret"] == "systemd_creds (new value)"
    assert defined(client_secret="another").changed
    assert read_back(tmp_path) == "another"
    assert not defined(client_secret=SECRET, update_secret="on_create").changed


@needs_systemd
@pytest.mark.parametrize("first", ["file", "systemd_creds"])
def test_another_storage_moves_the_secret(defined: Define, tmp_path: Path, first: str) -> None:
    names = {"file": "contoso.secret", "systemd_creds": "contoso.cred"}
    second = "file" if first == "systemd_creds" else "systemd_creds"
    defined(client_secret=SECRET, secret_storage=first)
    predicted = defined(client_secret=SECRET, secret_storage=second, check=True)
    assert secrets_of(tmp_path) == [names[first]]
    outcome = defined(client_secret=SECRET, secret_storage=second)
    assert (outcome.changed, outcome.before["secret"], outcome.after["secret"]) == (True, first, second)
    assert predicted == outcome
    assert secrets_of(tmp_path) == [names[second]]
    assert read_back(tmp_path) == SECRET


@needs_systemd
def test_removal_leaves_nothing(defined: Define, tmp_path: Path) -> None:
    defined(client_secret=SECRET)
    assert defined(state="absent").changed
    assert secrets_of(tmp_path) == []
    assert not defined(state="absent").changed


@needs_systemd
def test_sealed_secret_of_another_credential_is_refused(defined: Define, tmp_path: Path) -> None:
    """The name is sealed in: a file can't be passed off as another credential's."""
    defined(client_secret=SECRET)
    defined(name="fabrikam", client_secret="another")
    os.replace(tmp_path / "secrets" / "fabrikam.cred", tmp_path / "secrets" / "contoso.cred")
    with pytest.raises(CredentialError) as caught:
        read_back(tmp_path)
    assert caught.value.code == "credential.sealing"


@needs_systemd
def test_what_cannot_be_decrypted_is_replaced_only_by_a_new_secret(defined: Define, tmp_path: Path) -> None:
    defined(client_secret=SECRET)
    (tmp_path / "secrets" / "contoso.cred").write_bytes(base64.b64encode(os.urandom(160)))
    with pytest.raises(CredentialError) as caught:
        defined(description="no secret is given")
    assert caught.value.code == "credential.sealing"
    assert "give the secrets again" in caught.value.remedy
    assert defined(client_secret=SECRET).changed
    assert read_back(tmp_path) == SECRET


# --- what it chooses by itself -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("is_natural", "is_root", "storage"), [(True, True, "cred"), (True, False, "secret"), (False, True, "secret")]
)
def test_auto_takes_what_fits_the_host(
    defined: Define,
    program: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_natural: bool,
    is_root: bool,
    storage: str,
) -> None:
    program("cat")
    monkeypatch.setattr(definitions, "is_natural", lambda: is_natural)
    monkeypatch.setattr(CredentialStore, "belongs_to_root", lambda self: is_root)
    defined(client_secret="x", secret_storage="auto")
    assert secrets_of(tmp_path) == [f"contoso.{storage}"]


def test_credential_that_the_unit_has_loaded_comes_first(
    defined: Define, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    defined(client_secret=SECRET, secret_storage="file")
    loaded = tmp_path / "loaded"
    loaded.mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(loaded))
    assert read_back(tmp_path) == SECRET
    (loaded / "contoso.secret").write_text(json.dumps({"client_secret": "of the unit"}))
    assert read_back(tmp_path) == "of the unit"


# --- a host that can't ---------------------------------------------------------------------------------------------


def test_secret_is_in_no_argument_and_no_environment(
    defined: Define, program: Callable[[str], Path], tmp_path: Path
) -> None:
    place = program("cat")
    defined(client_secret=SECRET)
    noted = (place / "arguments").read_text()
    assert "encrypt --with-key=host --name=contoso.secret - -" in noted
    assert "canary" not in noted


@pytest.mark.parametrize("check", [False, True])
def test_without_the_program_nothing_is_half_done(
    defined: Define, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, check: bool
) -> None:
    monkeypatch.setattr(sealing, "_PLACES", str(tmp_path))
    with pytest.raises(CredentialError) as caught:
        defined(client_secret=SECRET, check=check)
    assert caught.value.code == "credential.sealing"
    assert "secret_storage" in caught.value.remedy
    assert not (tmp_path / "credentials").exists()


@pytest.mark.parametrize("script", ["echo 'canary: no key' >&2; exit 1", "exit 3", "sleep 5"])
def test_program_that_fails_says_why_and_stores_nothing(
    defined: Define, program: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    program(script)
    monkeypatch.setattr(sealing, "_SECONDS", 0.5)
    with pytest.raises(CredentialError) as caught:
        defined(client_secret=SECRET)
    assert "encrypted with this host's key" in caught.value.message
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value.__cause__)
    assert not (tmp_path / "credentials").exists()


def test_only_root_may(defined: Define, program: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    program("cat")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(CredentialError, match="only root"):
        defined(client_secret=SECRET, check=True)
    assert not sealing.is_natural()
