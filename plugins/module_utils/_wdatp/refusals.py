# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Entra ID has refused for good is not asked for again with each run: a minute later, then less and less often.

An app that keeps asking with a wrong secret fills the tenant's sign-in logs and may be locked out. A credential that
has changed is another question, which is asked at once.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Sequence

from .errors import AuthError
from .runtime import Content, Notebook
from .times import SECOND, format_time

# Seconds from one refusal to the next attempt; the last for all that follow.
_WAITS = (60.0, 240.0, 960.0, 3600.0)
# A question that nobody has asked for a day is forgotten, and of many only the latest are kept.
_FORGOTTEN_SECONDS = 86_400.0
_MOST = 8

# All that an app proves itself with, and what it asks for. Called only where it matters: it reads files.
Proof = Callable[[], Sequence[bytes]]


class Refusals:
    """The refusals of one app in one tenant. In check mode they are heeded, and those of this run are noted for this
    run alone."""

    def __init__(self, notebook: Notebook, server_now: Callable[[], int]) -> None:
        """`server_now`: the time for people, in ticks."""
        self._notebook = notebook
        self._server_now = server_now

    def check(self, proof: Proof) -> None:
        """AuthError where the same was refused before, and it is too early for another attempt."""
        if self._notebook.runtime.insists:
            return
        for content in (self._notebook.update(dict), self._notebook.own):
            note = _notes(content).get(tag_of(content, proof)) if _notes(content) else None
            if note is not None:
                self._raise(note)

    def _raise(self, note: Content) -> None:
        left = note["last"] + _WAITS[min(note["attempts"], len(_WAITS)) - 1] - self._notebook.runtime.clock()
        if left <= 0:
            return
        times = "once" if note["attempts"] == 1 else f"{note['attempts']} times"
        raise AuthError(
            f"{note['message']} Refused since {note['since']} ({times});"
            f" the next attempt is made at {self._time(left)}.",
            f"{note['remedy']} wdatp_test_connectivity tries at once; so does a run with another secret.",
            code=note["code"],
            aadsts=note["aadsts"],
        )

    def add(self, proof: Proof, error: AuthError) -> None:
        """Entra ID has said no, for good."""
        now = self._notebook.runtime.clock()

        def note(content: Content) -> None:
            key_of(content)
            tag = tag_of(content, proof)
            recent = {name: item for name, item in _notes(content).items() if item["last"] > now - _FORGOTTEN_SECONDS}
            known = recent.pop(tag, {"since": self._time(), "attempts": 0})
            latest = {
                **error.to_dict(),
                "aadsts": error.aadsts,
                "since": known["since"],
                "attempts": known["attempts"] + 1,
                "last": now,
            }
            content["refusals"] = dict([*list(recent.items())[1 - _MOST :], (tag, latest)])

        self._change(note, creates=True)

    def clear(self, proof: Proof) -> None:
        """Entra ID has said yes."""

        def forget(content: Content) -> None:
            if _notes(content):
                content["refusals"].pop(tag_of(content, proof), None)

        self._change(forget)

    def _change(self, change: Callable[[Content], None], creates: bool = False) -> None:
        if self._notebook.runtime.check_mode:
            change(self._notebook.own)
        else:
            self._notebook.update(change, creates)

    def _time(self, seconds: float = 0.0) -> str:
        """So many seconds from now, for people."""
        return format_time(self._server_now() + round(seconds * SECOND))[:19] + "Z"


def _notes(content: Content) -> Content:
    notes: Content = content.get("refusals", {})
    return notes


def key_of(content: Content) -> str:
    """The key of a file's tags, which is made where it is missing."""
    return str(content.setdefault("key", secrets.token_hex(16)))


def tag_of(content: Content, proof: Proof) -> str:
    """Tells one credential from another, and nearly nothing else.

    16 bits of an HMAC with a key of this file alone: of all secrets that somebody who has read the file may guess, one
    in 65,536 fits, so it proves no guess right. For us it is enough: that a new secret has the old one's tag and waits
    with it happens once in 65,536 times.
    """
    mac = hmac.new(bytes.fromhex(key_of(content)), digestmod="sha256")
    for part in proof():
        mac.update(len(part).to_bytes(8, "big") + part)
    return mac.hexdigest()[:4]
