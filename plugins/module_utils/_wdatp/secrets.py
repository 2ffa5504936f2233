# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a secret comes from. Each way is one class with `read()`; nothing is read before it is needed.

The way that asks CyberArk is in cyberark.py.
"""

from __future__ import annotations

import os

from .errors import CredentialError


class SecretSource:
    def read(self) -> str:
        """The secret itself. WdatpError where it can't be had."""
        raise NotImplementedError

    def describe(self) -> str:
        """Where it comes from, in words that hold no secret and are always the same."""
        raise NotImplementedError

    def client_id(self) -> str:
        """Whose secret it is; empty where the source does not know. WdatpError as above."""
        return ""

    def renew(self, refused: str) -> bool:
        """Whether there is another secret now than the one that was refused. Most are read each time, and have none."""
        return False


class GivenSecret(SecretSource):
    def __init__(self, value: str, where: str = "given in the options") -> None:
        self._value = value
        self._where = where

    def read(self) -> str:
        return self._value

    def describe(self) -> str:
        return self._where

    def __repr__(self) -> str:
        return f"GivenSecret({self._where!r})"


class FileSecret(SecretSource):
    """The first line of a file; a line end at its end is no part of the secret."""

    def __init__(self, path: str) -> None:
        self.path = path

    def read(self) -> str:
        try:
            with open(self.path, encoding="utf-8") as stream:
                text: str | None = stream.read(65_536)
        except OSError as error:
            raise CredentialError(
                f"The secret's file {self.path} can't be read: {error.strerror}.",
                "Check that it exists and that the user who runs this may read it.",
                code="credential.secret_file",
            ) from error
        except UnicodeDecodeError:
            # Not raised from here: the decoder's error would hold the secret.
            text = None
        if text is None:
            raise CredentialError(
                f"The secret's file {self.path} is not UTF-8 text.",
                "Write the secret alone into it, as text, on one line.",
                code="credential.secret_file",
            )
        secret = text.rstrip("\r\n")
        if not secret or "\n" in secret:
            raise CredentialError(
                f"The secret's file {self.path} holds {'several lines' if secret else 'nothing'}.",
                "Write the secret alone into it, on one line.",
                code="credential.secret_file",
            )
        return secret

    def describe(self) -> str:
        return f"file {self.path}"


class EnvironmentSecret(SecretSource):
    def __init__(self, name: str) -> None:
        self.name = name

    def read(self) -> str:
        value = os.environ.get(self.name, "")
        if not value:
            raise CredentialError(
                f"The environment variable {self.name} is not set.",
                f"Set {self.name}, or give the secret in another way.",
                code="credential.secret_missing",
            )
        return value

    def describe(self) -> str:
        return f"environment variable {self.name}"
