# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp.errors import CredentialError
from ansible_collections.secops.defender.plugins.module_utils._wdatp.secrets import (
    EnvironmentSecret,
    FileSecret,
    GivenSecret,
)


def test_given() -> None:
    given = GivenSecret("Qx8~value")
    assert given.read() == "Qx8~value"
    assert "Qx8" not in repr(given) + str(given) + given.describe()


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_file_with_the_secret_alone(tmp_path: Path, end: str) -> None:
    path = tmp_path / "secret"
    path.write_bytes(f" Qx8~välue {end}".encode())
    assert FileSecret(str(path)).read() == " Qx8~välue "
    assert str(path) in FileSecret(str(path)).describe()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "holds nothing"),
        (b"\n", "holds nothing"),
        (b"Qx8~one\nQx8~two\n", "holds several lines"),
        (b"Qx8~\xff", "is not UTF-8"),
    ],
)
def test_a_file_with_something_else(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    with pytest.raises(CredentialError, match=says) as caught:
        FileSecret(str(path)).read()
    assert str(path) in caught.value.message
    assert "Qx8" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "secret", tmp_path):
        with pytest.raises(CredentialError, match="can't be read") as caught:
            FileSecret(str(path)).read()
        assert str(path) in caught.value.message


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = EnvironmentSecret("WDATP_CLIENT_SECRET")
    monkeypatch.setenv("WDATP_CLIENT_SECRET", "Qx8~value")
    assert secret.read() == "Qx8~value"
    assert secret.describe() == "environment variable WDATP_CLIENT_SECRET"
    monkeypatch.setenv("WDATP_CLIENT_SECRET", "")
    with pytest.raises(CredentialError, match="WDATP_CLIENT_SECRET is not set"):
        secret.read()
