# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets that this process knows, and the removal of every form of them from texts meant for people.

Alert data never passes through here: a short secret would damage it.
"""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus, unquote

MASK = "********"
# Shorter texts occur by chance in any message; masking them would only make messages unreadable.
_SHORTEST = 4


def _base64_forms(data: bytes) -> set[str]:
    """The secret's base64 wherever it begins inside a longer text: three alignments, without the unsure ends."""
    forms = set()
    for lead in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            text = encode(b"\0" * lead + data).decode("ascii").rstrip("=")
            start = -(-lead * 8 // 6)
            # The last character also carries bits of what follows, unless the length fits exactly.
            end = len(text) if (lead + len(data)) % 3 == 0 else len(text) - 1
            if end - start >= _SHORTEST:
                forms.add(text[start:end])
    return forms


def forms_of(secret: str) -> set[str]:
    """Every form in which the secret may show: as it is, url-encoded, base64, JSON-escaped, as a Python literal."""
    data = secret.encode("utf-8", "surrogateescape")
    forms = {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]}
    for encode in (quote, quote_plus):
        for safe in ("", "/", "~"):
            encoded = encode(data, safe=safe)
            forms |= {encoded, encoded.replace("%", "%25")}
    forms |= {form.lower() for form in forms if "%" in form}
    return {form for form in forms | _base64_forms(data) if len(form) >= _SHORTEST}


def url_password(url: str | None) -> str:
    """The password inside an address, as it is written there (perhaps url-encoded); empty where there is none.

    By hand: an address that nobody could use, and that urlsplit refuses, may still hold a password.
    """
    rest = (url or "").split("://", 1)[-1]
    user_info, at, _host = rest.rpartition("@")
    return user_info.partition(":")[2] if at else ""


class Redactor:
    """Holds the secrets of one run."""

    def __init__(self) -> None:
        self._forms: set[str] = set()
        self._ordered: list[str] = []

    def add(self, secret: str | None) -> None:
        if secret:
            self._forms |= forms_of(secret)
            # Longest first: a short form inside a long one must not spoil it.
            self._ordered = sorted(self._forms, key=len, reverse=True)

    def add_url(self, url: str | None) -> None:
        """Learn the password inside an address, such as a proxy's, as it is written there and as it is meant."""
        password = url_password(url)
        if password:
            # However short it is, inside the address it can be told from other text.
            self._forms.add(f":{password}@")
        self.add(password)
        self.add(unquote(password))

    @property
    def forms(self) -> list[str]:
        return list(self._ordered)

    def text(self, text: str) -> str:
        for form in self._ordered:
            if form in text:
                text = text.replace(form, MASK)
        return text
