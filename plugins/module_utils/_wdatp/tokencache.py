# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tokens that outlive a run, for those who run every minute and have asked for it: off unless `token_cache` is set.

A token is as good as the secret for its hour, so it is kept where the secret is: encrypted with the host's key where
that one is, else in the runtime directory, which only its owner can read and which a reboot empties.
"""

from __future__ import annotations

from .errors import CredentialError
from .refusals import Proof, key_of, tag_of
from .runtime import Content, Notebook
from .sealing import seal, unseal_text

# What the host's key seals in with a token, so that it can't be passed off as something else.
_NAME = "wdatp-token"


class TokenCache:
    """The token of one app in one tenant for one scope. In check mode it is read, and not changed."""

    def __init__(self, notebook: Notebook, scope: str, is_sealed: bool) -> None:
        self._notebook = notebook
        self._scope = scope
        self._is_sealed = is_sealed

    def get(self, proof: Proof) -> tuple[str, float, int] | None:
        """(token, seconds that it has left, its lifetime); None where none was kept for this very credential."""
        content: Content = self._notebook.update(dict)
        known = content.get("tokens", {}).get(self._scope)
        if known is None or known["sealed"] != self._is_sealed or known["tag"] != tag_of(content, proof):
            return None
        left = known["ends"] - self._notebook.runtime.clock()
        if left <= 0:
            return None
        try:
            text = unseal_text(_NAME, known["token"]) if self._is_sealed else known["token"]
        except CredentialError:
            # Sealed by another host's key, or by one that is gone: as if it were not there.
            return None
        return text, left, known["lifetime"]

    def put(self, proof: Proof, token: str, seconds: float, lifetime: int) -> None:
        """Keeps a token that is good for so many seconds."""
        if self._notebook.runtime.check_mode:
            return
        text = seal(_NAME, token) if self._is_sealed else token
        ends = self._notebook.runtime.clock() + seconds

        def keep(content: Content) -> None:
            key_of(content)
            entry = {"token": text, "sealed": self._is_sealed, "ends": ends, "lifetime": lifetime}
            content.setdefault("tokens", {})[self._scope] = {**entry, "tag": tag_of(content, proof)}

        self._notebook.update(keep, creates=True)

    def drop(self) -> None:
        """The token was refused before its time."""
        if not self._notebook.runtime.check_mode:
            self._notebook.update(lambda content: content.get("tokens", {}).pop(self._scope, None))
