# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The search for secrets finds them: a search that finds nothing would prove nothing."""

from __future__ import annotations

import base64
import gzip
import json
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

import canaries
import pytest
from canaries import Hunt

SECRETS = {name: value for name, value in vars(canaries).items() if name.endswith(("_SECRET", "_PASSWORD"))}
SECRET = canaries.CLIENT_SECRET


def basic(text: str, encoding: str = "utf-8") -> str:
    return base64.b64encode(text.encode(encoding)).decode()


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
@pytest.mark.parametrize(
    "form",
    [
        lambda secret: secret,
        quote,
        lambda secret: quote(secret, safe=""),
        quote_plus,
        lambda secret: urlencode({"client_secret": secret}),
        lambda secret: quote(quote(secret, safe="")),
        basic,
        lambda secret: basic(secret).rstrip("="),
        lambda secret: basic(f"u:{secret}"),
        lambda secret: basic(f"us:{secret}"),
        lambda secret: basic(f"use:{secret}@"),
        lambda secret: basic(f"use:{secret}@", "latin-1"),
        lambda secret: base64.urlsafe_b64encode(f"x{secret}y".encode()).decode(),
        lambda secret: json.dumps({"a": secret}),
        lambda secret: json.dumps({"a": secret}, ensure_ascii=False),
        lambda secret: json.dumps({"a": json.dumps({"b": secret})}),
        lambda secret: json.dumps(f"fatal: {[secret]!r}"),
        shlex.quote,
        repr,
        lambda secret: repr(secret.encode()),
        lambda secret: f"cut off: {secret[:20]}",
        lambda secret: f"cut off: {quote(secret)[20:40]}",
    ],
)
def test_search_finds_every_form(secret: str, form: Any) -> None:
    hunt = Hunt({"it": secret})
    for before in ("", "x", "yy", "zzz", "a whole line\n"):
        assert hunt.in_text("here", f"{before}{form(secret)} and more")


def test_search_finds_what_is_packed(tmp_path: Path) -> None:
    hunt = Hunt({"it": SECRET})
    packed = gzip.compress(f"head {SECRET} tail".encode())
    assert hunt.in_bytes("here", b"\n" * 7 + packed)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "events.jsonl.gz").write_bytes(packed)
    assert len(hunt.in_files(tmp_path)) == 1
    assert hunt.in_files(tmp_path, but=[tmp_path / "a" / "events.jsonl.gz"]) == []


def test_search_finds_what_is_behind_an_error() -> None:
    try:
        try:
            raise KeyError(SECRET)
        except KeyError:
            raise ValueError("nothing to see") from None
    except ValueError as error:
        assert Hunt({"it": SECRET}).in_error(error)


def test_search_tells_secrets_apart() -> None:
    hunt = Hunt(SECRETS)
    for name, secret in SECRETS.items():
        assert [found.split()[0] for found in hunt.in_text("here", secret)] == [name]
    assert hunt.in_text("here", json.dumps({"events": "nothing of that kind", "token_roles": ["A.B"]})) == []
