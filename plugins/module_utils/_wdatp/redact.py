# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets that this process knows, and the removal of every form of them from texts meant for people.

Alert data never passes through here: a short secret would damage it.
"""

from __future__ import annotations

import base64
import html
import json
import os
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any
from urllib.parse import quote, quote_plus, unquote
from weakref import WeakKeyDictionary

from .options import Option

MASK = "********"
# Shorter texts occur by chance in any message; masking them would only make messages unreadable.
_SHORTEST = 4
# Of results, what is data and no text for people: no secret can be in it, but a short one may occur there by chance.
_DATA = ("api", "code", "cursor", "events", "ids", "sha256", "tenant_id")
# Options that are addresses, in which a password may stand.
_ADDRESSES = ("proxy", "api_url", "authority_url")
_HEX = re.compile("%[0-9A-F]{2}")
# Whatever looks like a signed token (RFC 7515, section 3.1: base64url of a JSON object, a dot, and more of the kind):
# an answer that breaks off in its middle holds one that nobody has met yet.
_TOKEN = re.compile(r"eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)*")


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
    """Every form in which the secret may show: as it is, url-encoded, base64, escaped as in JSON, HTML and Python."""
    data = secret.encode("utf-8", "surrogateescape")
    forms = {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    forms |= {repr(secret)[1:-1], repr(data)[2:-1], html.escape(secret)}
    for encode in (quote, quote_plus):
        for safe in ("", "/", "~"):
            encoded = encode(data, safe=safe)
            for form in (encoded, encoded.lower(), _HEX.sub(lambda found: found[0].lower(), encoded)):
                forms |= {form, form.replace("%", "%25")}
    # The library requests writes the login of a proxy in Latin-1.
    for content in (data, secret.encode("latin-1", "replace")):
        forms |= _base64_forms(content)
    return {form for form in forms if len(form) >= _SHORTEST}


def _pattern_of(secret: str) -> re.Pattern[str]:
    """The secret with some of its signs escaped and others not: each program has other signs that it leaves alone."""
    return re.compile("".join(sign if sign.isascii() and sign.isalnum() else _any_form(sign) for sign in secret))


def _any_form(sign: str) -> str:
    forms = {sign, json.dumps(sign)[1:-1], html.escape(sign), quote(sign, safe=""), quote_plus(sign)}
    encoded = {quote(sign, safe="").replace("%", "%25"), "".join(f"%{byte:02x}" for byte in sign.encode())}
    # Escaped in what is escaped itself, as JSON in JSON.
    return r"\\*(?:" + "|".join(re.escape(form) for form in sorted(forms | encoded, key=len, reverse=True)) + ")"


def url_password(url: str | None) -> str:
    """The password inside an address, as it is written there (perhaps url-encoded); empty where there is none.

    By hand: an address that nobody could use, and that urlsplit refuses, may still hold a password.
    """
    rest = (url or "").split("://", 1)[-1]
    user_info, at, _host = rest.rpartition("@")
    return user_info.partition(":")[2] if at else ""


def without_login(url: str) -> str:
    """An address for a message: its user name and password masked."""
    scheme, mark, rest = url.rpartition("://")
    _login, at, place = rest.rpartition("@")
    return f"{scheme}{mark}{MASK}@{place}" if at else url


def environment_of(options: Iterable[Option]) -> dict[str, str | None]:
    """What this process's environment says about these options, by name."""
    return {option.name: os.environ.get(option.env) for option in options if option.env}


class _Secret:
    """A secret and its forms, which are made when a text is long enough to hold it: most of a run's tokens never meet
    one."""

    def __init__(self, secret: str) -> None:
        # No form is shorter.
        self.length = len(secret)
        self._secret = secret

    @cached_property
    def forms(self) -> set[str]:
        return forms_of(self._secret)

    @cached_property
    def pattern(self) -> re.Pattern[str] | None:
        return _pattern_of(self._secret) if self.length >= _SHORTEST else None


class Redactor:
    """Holds the secrets of one run. Streams that are pulled at the same time share it."""

    def __init__(self) -> None:
        self._lasting: dict[str, _Secret] = {}
        self._passing: WeakKeyDictionary[object, dict[str, _Secret]] = WeakKeyDictionary()
        # Passwords between the marks of an address, in this one form.
        self._logins: set[str] = set()
        self._guard = threading.Lock()

    def add(self, secret: str | None, owner: object = None) -> None:
        """`owner`: the secret is forgotten with it, as a token is: a run for a thousand tenants has a thousand."""
        if secret:
            with self._guard:
                known = self._lasting if owner is None else self._passing.setdefault(owner, {})
                known.setdefault(secret, _Secret(secret))

    def add_url(self, url: str | None) -> None:
        """Learn the password inside an address, such as a proxy's, as it is written there and as it is meant."""
        password = url_password(url)
        if password:
            # However short it is, inside the address it can be told from other text.
            self._logins.add(f":{password}@")
        self.add(password)
        self.add(unquote(password))

    def learn(self, options: Iterable[Option], values: Any) -> None:
        """Learn what is secret of these options' values; before they have been checked, those may be anything."""
        if not isinstance(values, Mapping):
            return
        for option in options:
            value = values.get(option.name)
            if option.options:
                for item in value if isinstance(value, list) else [value]:
                    self.learn(option.options, item)
            elif isinstance(value, str) and option.secret:
                self.add(value)
            elif isinstance(value, str) and option.name in _ADDRESSES:
                self.add_url(value)

    @property
    def forms(self) -> list[str]:
        """Every form of all that is known now, longest first."""
        return _longest_first({form for secret in self._known() for form in secret.forms} | self._logins)

    def _known(self) -> list[_Secret]:
        with self._guard:
            passing = [secret for owned in self._passing.values() for secret in owned.values()]
            return [*self._lasting.values(), *passing]

    def text(self, text: str) -> str:
        """The text without any secret. Before it is cut short: of a secret in two pieces neither would be known."""
        possible = [secret for secret in self._known() if secret.length <= len(text)]
        forms = self._logins.union(*(secret.forms for secret in possible))
        # A short form inside a long one must not spoil it.
        for form in _longest_first({form for form in forms if form in text}):
            text = text.replace(form, MASK)
        for secret in possible:
            if secret.pattern is not None:
                text = secret.pattern.sub(MASK, text)
        return _TOKEN.sub(MASK, text)


def masked(value: Any, mask: Callable[[str], str], name: str = "") -> Any:
    """A result with all its texts masked, and its data and figures left alone. `name`: under which it is returned."""
    if name in _DATA:
        return value
    if isinstance(value, Mapping):
        return {key: masked(item, mask, key) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [masked(item, mask) for item in value]
    return mask(value) if isinstance(value, str) else value


def _longest_first(forms: set[str]) -> list[str]:
    return sorted(forms, key=len, reverse=True)
