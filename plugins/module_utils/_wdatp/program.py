# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command `wdatp` as one file: a zip of this very package's sources that Python runs (a zipapp, PEP 441).

Its bytes depend on the sources and on `python` alone: not on the host, nor on the version of Python or of ansible-core
that brought the sources here.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import io
import os
import re
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from . import cli
from .errors import OptionError, ProgramError
from .files import mode_of, put_in_place, remove_file
from .version import VERSION

_MODE = 0o755
# What the distribution's packages of Python libraries are for.
_SYSTEM_PYTHON = "/usr/bin/python3"
# The kernel reads no more of a script's first line (BINPRM_BUF_SIZE before Linux 5.1, execve(2)).
_LONGEST_FIRST_LINE = 127
# In the program, the engine is a package of this name; it has no other there.
_NAME = "_wdatp"
_VERSION_FILE = f"{_NAME}/version.py"
# Read by any Python, also by one that could not compile the rest.
_MAIN = f"""\
import sys

if sys.version_info < (3, 9):
    sys.exit("wdatp needs Python 3.9 or later; this is %s, version %s." % (sys.executable, sys.version.split()[0]))

from {_NAME}.cli import main

sys.exit(main())
"""


@dataclass(frozen=True)
class Program:
    """What there is, or is to be, at a path."""

    content: bytes
    version: str
    files: tuple[str, ...]

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    def describe(self) -> dict[str, Any]:
        return {"sha256": self.sha256, "version": self.version, "size": len(self.content), "files": list(self.files)}


@dataclass(frozen=True)
class Outcome:
    """`before`: None where there was none; `after`: None where none is wanted."""

    changed: bool
    path: str
    before: Program | None
    after: Program | None


def define_program(options: Mapping[str, Any], check: bool = False) -> Outcome:
    """Writes or removes the program as the options of wdatp_program say. OptionError, ProgramError.

    `check`: say what would change, and change nothing.
    """
    path = options["path"]
    if not os.path.isabs(path):
        raise OptionError(f"path: {path} is a relative path.", "Write the whole path, such as /usr/local/bin/wdatp.")
    before = _found(path)
    if options["state"] == "absent":
        if before is not None and not check:
            with _writing(path):
                remove_file(path)
        return Outcome(before is not None, path, before, None)
    after = build(options["python"] or default_python())
    if before is not None and _order(before.version) > _order(after.version) and not options["allow_downgrade"]:
        raise ProgramError(
            f"{path} is of version {before.version}, newer than {after.version}, which is this collection's.",
            "Use a collection that is as new. allow_downgrade overrules this; a store that the newer one has changed"
            " can't be read then (store.newer).",
            code="program.newer",
        )
    changed = before is None or before.content != after.content or mode_of(path) != _MODE
    if changed and not check:
        with _writing(path):
            put_in_place(path, after.content, _MODE)
    return Outcome(changed, path, before, after)


# --- making it --------------------------------------------------------------------------------------------------------


def default_python() -> str:
    """The distribution's Python where there is one; else the one that runs this."""
    return _SYSTEM_PYTHON if os.path.exists(_SYSTEM_PYTHON) else sys.executable


def build(python: str) -> Program:
    """The program for this Python. OptionError where its path can't stand in a first line."""
    # Isolated: neither the user's packages nor PYTHONPATH nor the current directory have a say.
    first_line = f"#!{python} -I\n".encode()
    if re.search(r"\s", python) or not os.path.isabs(python) or len(first_line) > _LONGEST_FIRST_LINE:
        raise OptionError(
            f"python: {python!r} can't stand in a program's first line.",
            f"Give a whole path without blanks, at most {_LONGEST_FIRST_LINE - len('#! -I') - 1} characters long.",
        )
    sources = {"__main__.py": _MAIN, **_sources()}
    file = io.BytesIO()
    file.write(first_line)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(sources):
            # Without a date; stored as they are, for each version of zlib packs in its own way.
            entry = zipfile.ZipInfo(name)
            entry.create_system = 3
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, sources[name].encode())
    return Program(file.getvalue(), VERSION, tuple(sorted(sources)))


def _sources() -> dict[str, str]:
    """The command's module and all that it imports of this package: path in the program -> text.

    By reading the imports, those in functions too: what is loaded by now, or lies beside it, says nothing.
    """
    root = __name__.rpartition(".")[0]
    found: dict[str, str] = {}
    left = [cli.__name__]
    while left:
        name = left.pop()
        spec = importlib.util.find_spec(name)
        is_package = spec is not None and spec.submodule_search_locations is not None
        path = _NAME + name[len(root) :].replace(".", "/") + ("/__init__.py" if is_package else ".py")
        if path not in found:
            text = found[path] = spec.loader.get_source(name)  # type: ignore[union-attr]
            package = name if is_package else name.rpartition(".")[0]
            left += [package, *_imports(text, package)]
    return found


def _imports(text: str, package: str) -> Iterator[str]:
    """The full names of a module's relative imports."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            yield base
            if _is_package(base):
                names = (f"{base}.{alias.name}" for alias in node.names)
                # The others are names in the package itself.
                yield from (name for name in names if importlib.util.find_spec(name))


def _is_package(name: str) -> bool:
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.submodule_search_locations is not None


# --- what is there ----------------------------------------------------------------------------------------------------


def _found(path: str) -> Program | None:
    """The program at a path. ProgramError where something else is there, or nobody may look."""
    try:
        with open(path, "rb") as stream:
            content = stream.read()
    except FileNotFoundError:
        return None
    except IsADirectoryError:
        raise _foreign(path) from None
    except OSError as error:
        raise _denied(path, error, "read") from error
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            version = re.search(r'^VERSION = "(.+)"$', archive.read(_VERSION_FILE).decode(), re.MULTILINE)
            files = tuple(archive.namelist())
    except (zipfile.BadZipFile, KeyError, UnicodeDecodeError):
        version = None
    if version is None:
        raise _foreign(path)
    return Program(content, version[1], files)


def _order(version: str) -> tuple[list[int], bool, list[tuple[bool, int, str]]]:
    """By which versions are compared (semver.org, item 11)."""
    core, _dash, more = version.partition("+")[0].partition("-")
    parts = [(not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in more.split(".") if part]
    return [int(number) for number in re.findall(r"\d+", core)], not parts, parts


@contextmanager
def _writing(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _denied(path, error, "written") from error


def _foreign(path: str) -> ProgramError:
    return ProgramError(
        f"{path} is there already, and is not the program wdatp.",
        "Give another path, or move that file away.",
        code="program.foreign",
    )


def _denied(path: str, error: OSError, doing: str) -> ProgramError:
    return ProgramError(
        f"The program {path} can't be {doing}: {error.strerror}.",
        "Run this as a user who may (become: true for /usr/local/bin), and give a path in a directory that exists.",
        code="program.denied",
    )
