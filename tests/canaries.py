# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets that nothing may show, and the search for them in every encoding that they may show in.

    hunt = Hunt({"client secret": CLIENT_SECRET})
    hunt.add("access token", token)
    assert hunt.in_text("what the run said", text) == []

Parts count as well: whoever sees 16 characters in a row of any form of a secret has seen too much.
"""

from __future__ import annotations

import base64
import html
import io
import json
import re
import shlex
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote, quote_plus

# What hurts: quotes, backslash, signs of URLs, of shells and of JSON, letters of other scripts. No two share a part.
CLIENT_SECRET = "Cs1~Vq\"Zk\\7b%2f+Wx/r=Ty&e#Hm éçü'Jd$(id)Nw`w`;|<Lp>!"
ENVIRONMENT_SECRET = "Ev2~ü%Gh+Kj/p=&#\"Rt\\nYu'Xc$HOME Bn{Dz}[Fq]é*?Uw"
FILE_SECRET = "Fi3~Mk/+o=&#é%41Pv\"\\Sx'Ql Ag$Zj(Tb)Kc^Yd,Ie:@Rh"
STORED_SECRET = "St4~Jw&#%zz+/=Oé\\uBf\"Lk'Md<Cx>Ns Gy$1|Hp;ÿVr~Xq"
WRONG_SECRET = "Wr5~Db+/=%&#é\"Uz\\Ti'Ko Pn$(Ey)Sa`Vc`Gq{1}LmÿJhRw"
CERTIFICATE_PASSWORD = "Pf6~é+/=&#%Ak\"Yn\\Xr'Bv Zo$Ct(Wd)Eu|Fs;Hg>Jm<IlQp"
# The library requests writes logins in Latin-1: other letters can't be in a proxy's password.
PROXY_PASSWORD = "Px7~ü@:/+=%&#?\"Vm\\Kd'Lz Uf$Nb(Oj)Te`Rc`Gw{Sx}Ay"

# Bytes in a row that count as a part, and how far apart the search looks: from 16 on, none is missed.
_WINDOW = 13
_STRIDE = 4
_GZIP = b"\x1f\x8b\x08"
_ZIP = b"PK\x03\x04"
# As in Ansible's wrapper of a module, which holds a packed file as base64.
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{200,}={0,2}")
_LARGEST_PACKED = 64 << 20


def _percent(data: bytes) -> Iterator[bytes]:
    for encode in (quote, quote_plus):
        for safe in ("", "/", "~", "$:,'()", "!#$%&'()*+,/:;=?@[]~"):
            encoded = encode(data, safe=safe)
            for text in (encoded, re.sub("%..", lambda found: found[0].lower(), encoded)):
                yield text.encode()
                yield text.replace("%", "%25").encode()


def _base64(data: bytes) -> Iterator[bytes]:
    """At each of the three places that it may begin at inside a longer text, without what depends on its neighbours."""
    for lead in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            text = encode(b"\0" * lead + data).rstrip(b"=")
            is_whole = (lead + len(data)) % 3 == 0
            yield text[-(-lead * 8 // 6) : None if is_whole else -1]


_ESCAPES: tuple[Callable[[str], str], ...] = (
    lambda text: json.dumps(text)[1:-1],
    lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    lambda text: repr(text)[1:-1],
    lambda text: ascii(text)[1:-1],
    lambda text: repr(text.encode())[2:-1],
    lambda text: shlex.quote(text)[1:-1],
    html.escape,
    lambda text: text.encode("unicode_escape").decode("ascii"),
)


def forms_of(secret: str) -> set[bytes]:
    """Every form in which the secret may show."""
    texts = {secret}
    for _depth in range(2):
        # JSON in JSON, what Python shows of a shell's command, and so on.
        texts |= {escape(text) for text in texts for escape in _ESCAPES}
    found = {text.encode() for text in texts}
    for data in (secret.encode(), secret.encode("latin-1", "replace"), secret.encode("utf-16-le")):
        found |= {data, data.hex().encode(), *_percent(data), *_base64(data)}
    for form in list(_percent(secret.encode())):
        found |= set(_base64(form))
    return found


class Hunt:
    """The search for these secrets, by name."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._windows: dict[bytes, str] = {}
        for name, secret in secrets.items():
            self.add(name, secret)

    def add(self, name: str, secret: str) -> None:
        for form in forms_of(secret):
            # What is as long as a whole secret, and shorter than a window, is no secret of this suite.
            for start in range(max(len(form) - _WINDOW, 0) + 1):
                self._windows[form[start : start + _WINDOW]] = name

    def in_bytes(self, where: str, content: bytes) -> list[str]:
        """What was found, in words: which secret, where, and a little of what stands around it."""
        return [
            f"{name} in {where}: {around!r}"
            for layer in _layers(content)
            for name, around in self._found(layer)
        ]  # fmt: skip

    def in_text(self, where: str, text: str) -> list[str]:
        return self.in_bytes(where, text.encode("utf-8", "surrogateescape"))

    def in_value(self, where: str, value: object) -> list[str]:
        """In a result, as JSON and with each text as it is."""
        return self.in_text(where, "\n".join([json.dumps(value, default=repr), *map(str, _leaves(value))]))

    def in_files(self, *places: Path, but: Iterable[Path] = ()) -> list[str]:
        """In all files of these directories, and in their names; not in those that are meant to hold them."""
        found: list[str] = []
        skipped = {path.resolve() for path in but}
        for path in sorted(item for place in places for item in [place, *place.rglob("*")]):
            found += self.in_text("the name of a file", path.name)
            if path.is_file() and path.resolve() not in skipped:
                found += self.in_bytes(str(path), path.read_bytes())
        return found

    def in_error(self, error: BaseException) -> list[str]:
        """In all that can be read off an error: its text, and those of its causes, also of those that are not shown."""
        found = []
        for item in _chain(error):
            parts = [str(item), repr(item), *map(repr, getattr(item, "__notes__", []))]
            found += self.in_text(f"the {type(item).__name__} behind it", "\n".join(parts))
        return found

    def _found(self, content: bytes) -> Iterator[tuple[str, bytes]]:
        seen = set()
        for start in range(0, len(content) - _WINDOW + 1, _STRIDE):
            name = self._windows.get(content[start : start + _WINDOW])
            if name is not None and name not in seen:
                seen.add(name)
                yield name, content[max(start - 60, 0) : start + 60]


def _layers(content: bytes, depth: int = 3) -> Iterator[bytes]:
    """The bytes themselves, and what is packed in them."""
    yield content
    if depth:
        for inner in _unpacked(content):
            yield from _layers(inner, depth - 1)


def _unpacked(content: bytes) -> Iterator[bytes]:
    for start in _places(content, _GZIP):
        try:
            yield zlib.decompressobj(31).decompress(content[start:], _LARGEST_PACKED)
        except zlib.error:
            continue
    if content.startswith(_ZIP):
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            yield from (packed.read(name) for name in packed.namelist())
    for found in _BASE64.finditer(content):
        text = found[0].replace(b"-", b"+").replace(b"_", b"/").rstrip(b"=")
        inner = base64.b64decode(text + b"=" * (-len(text) % 4)) if len(text) % 4 != 1 else b""
        if inner.startswith((_GZIP, _ZIP)):
            yield inner


def _places(content: bytes, mark: bytes) -> Iterator[int]:
    place = content.find(mark)
    while place >= 0:
        yield place
        place = content.find(mark, place + 1)


def _leaves(value: object) -> Iterator[object]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield key
            yield from _leaves(item)
    elif isinstance(value, (list, tuple, set)):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    todo, seen = [error], set()
    while todo:
        item = todo.pop()
        if isinstance(item, BaseException) and id(item) not in seen:
            seen.add(id(item))
            yield item
            todo += [item.__cause__, item.__context__, *(part for part in item.args if isinstance(part, BaseException))]
