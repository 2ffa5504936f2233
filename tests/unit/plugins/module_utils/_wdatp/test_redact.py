# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
import html
import json
import re
import tracemalloc
from urllib.parse import quote, quote_plus, urlencode

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp.options import TARGET, Option
from ansible_collections.secops.defender.plugins.module_utils._wdatp.redact import (
    MASK,
    Redactor,
    forms_of,
    url_password,
    without_login,
)
from hypothesis import given
from hypothesis import strategies as st

SECRET = 'Qx8~a/b+c=d"e\\f&g%h ü'


def redactor(*secrets: str) -> Redactor:
    made = Redactor()
    for secret in secrets:
        made.add(secret)
    return made


@pytest.mark.parametrize(
    "shown",
    [
        SECRET,
        json.dumps({"secret": SECRET}),
        json.dumps({"secret": SECRET}, ensure_ascii=False),
        repr([SECRET]),
        quote(SECRET, safe=""),
        quote(SECRET),
        quote(quote(SECRET, safe=""), safe=""),
        quote_plus(SECRET),
        urlencode({"client_secret": SECRET, "scope": "x"}),
        quote(SECRET, safe="").lower(),
        re.sub("%..", lambda found: found[0].lower(), quote(SECRET, safe="")),
        repr(SECRET.encode()),
        quote(SECRET, safe="/+=&"),
        quote(SECRET, safe="'!(), \""),
        json.dumps(json.dumps({"secret": [SECRET]})),
        SECRET.replace("/", "%2f").replace('"', '\\\\"'),
        html.escape(SECRET),
        base64.b64encode(SECRET.encode("latin-1")).decode(),
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
    ],
)
def test_every_form_is_masked(shown: str) -> None:
    masked = redactor(SECRET).text(f"before {shown} after")
    assert MASK in masked
    assert masked.startswith("before ")
    assert masked.endswith(" after")
    assert not any(form in masked for form in forms_of(SECRET))
    assert "Qx8" not in masked


@given(st.binary(max_size=8), st.text(min_size=8, max_size=60), st.binary(max_size=8))
def test_base64_of_something_around_it(before: bytes, secret: str, after: bytes) -> None:
    """As in an Authorization header, where the secret follows a user's name."""
    data = secret.encode("utf-8", "surrogatepass")
    try:
        secret.encode("utf-8")
    except UnicodeEncodeError:
        return
    shown = base64.b64encode(before + data + after).decode()
    masked = redactor(secret).text(shown)
    assert MASK in masked
    # What is left of it at most: the characters that its first and last bytes share with their neighbours.
    assert len(masked) - len(MASK) <= len(shown) - (len(data) * 8 // 6 - 2)


def test_short_secrets_do_not_spoil_texts() -> None:
    assert redactor("abc").text("abcdef") == "abcdef"


def test_a_secret_inside_another_does_not_save_its_rest() -> None:
    both = redactor("abcd", "abcdefgh")
    assert both.text("x abcdefgh y abcd") == f"x {MASK} y {MASK}"


def test_nothing_to_hide() -> None:
    empty = Redactor()
    empty.add(None)
    empty.add("")
    empty.add_url(None)
    assert empty.forms == []
    assert empty.text("text") == "text"


@pytest.mark.parametrize(
    ("url", "password"),
    [
        (None, ""),
        ("http://proxy:3128", ""),
        ("http://u@proxy:3128", ""),
        ("http://u:p%40ss@proxy:3128", "p%40ss"),
        ("u:pass@proxy", "pass"),
        ("ftp://u:p@ss:w@proxy", "p@ss:w"),
    ],
)
def test_url_password(url: str | None, password: str) -> None:
    assert url_password(url) == password


def test_an_addresss_password_in_both_forms() -> None:
    made = Redactor()
    made.add_url("http://u:p%40ss-word@proxy")
    assert made.text("p%40ss-word p@ss-word") == f"{MASK} {MASK}"


def test_a_short_password_inside_its_address() -> None:
    made = Redactor()
    made.add_url("http://u:pw@proxy")
    assert made.text("up and away: http://u:pw@proxy") == f"up and away: http://u{MASK}proxy"


def test_options_are_learned_also_where_they_are_nonsense() -> None:
    nested = (Option("things", type="list", elements="dict", options=(Option("secret", secret=True),)),)
    made = Redactor()
    made.learn(nested, {"things": [{"secret": "a secret"}, "x", {"secret": 5}, None]})
    made.learn(nested, "nonsense")
    assert made.text("has a secret and x") == f"has {MASK} and x"
    made.learn(TARGET, {"proxy": "http://u:p%40ss-word@proxy", "api_url": "https://:pass@api", "scope": "scope"})
    assert made.text("p@ss-word, scope, :pass@") == f"{MASK}, scope, {MASK}"


def test_token_that_nobody_has_met_is_masked() -> None:
    token = "eyJ0eXAiOiJKV1QiLCJhbGciOiJub25lIn0.eyJhIjoxfQ.c2ln"
    for text in (token, token[:20], f"{token[:40]}"):
        assert Redactor().text(f'{{"access_token":"{text}') == f'{{"access_token":"{MASK}'
    assert Redactor().text("eyJ, keyJar and eyJs") == "eyJ, keyJar and eyJs"


def test_addresses_are_shown_without_their_login() -> None:
    for url, shown in (
        ("https://u:p@api", f"https://{MASK}@api"),
        ("https://:p@api", f"https://{MASK}@api"),
        ("u:p@api", f"{MASK}@api"),
        ("https://api/path", "https://api/path"),
    ):
        assert without_login(url) == shown


class Owner:
    pass


def test_a_passing_secret_is_known_as_long_as_its_owner_lives() -> None:
    made, first, second = Redactor(), Owner(), Owner()
    made.add("of a token", first)
    made.add("of a token", second)
    del first
    assert made.text("text of a token") == f"text {MASK}"
    assert "of%20a%20token" in made.forms
    del second
    assert made.text("text of a token") == "text of a token"
    assert made.forms == []


@given(st.text(min_size=1, max_size=12))
def test_no_form_is_shorter_than_its_secret(secret: str) -> None:
    """By which text() knows what it need not look for."""
    try:
        secret.encode()
    except UnicodeEncodeError:
        return
    assert all(len(form) >= len(secret) for form in forms_of(secret))


def test_a_thousand_tokens_cost_little() -> None:
    """Of tenants that all are asked at the same time, and that have nothing to say."""
    made = Redactor()
    owners = [Owner() for _tenant in range(1000)]
    tracemalloc.start()
    try:
        for number, owner in enumerate(owners):
            made.add(f"{number:04d}" * 400, owner)
        made.text("a short text")
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5_000_000
