# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Definitions that a host stores, one file of JSON each: <config_dir>/<folder>/<name>.json (0640).

What goes wrong is told in the words of what is defined there, so whoever uses this brings its errors along.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from .errors import WdatpError
from .files import make_directory, put_in_place, remove_file

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?", re.ASCII)
# How a name has to be, as a remedy.
NAME_RULE = "Use letters, digits, dots, hyphens and underscores, at most 64; begin and end with a letter or digit."


def is_name(text: str) -> bool:
    """Whether something can be called that: it becomes the name of a file."""
    return _NAME.fullmatch(text) is not None


@dataclass(frozen=True)
class Errors:
    """How a store says what is wrong with a file, or a directory, at a path.

    `denied`: (path, the system's error, what could not be done: read, written). `broken`: (path, why).
    `newer`: (path, its form's version, the newest that is known).
    """

    denied: Callable[[str, OSError, str], WdatpError]
    broken: Callable[[str, str], WdatpError]
    newer: Callable[[str, int, int], WdatpError]


class NamedFiles:
    """The files of one folder. Nothing is made there before the first write. `schema`: the newest form's version."""

    def __init__(self, config_dir: str, folder: str, schema: int, errors: Errors) -> None:
        self.config_dir = os.path.abspath(config_dir)
        self.directory = os.path.join(self.config_dir, folder)
        self._schema = schema
        self._errors = errors

    def path(self, name: str) -> str:
        return os.path.join(self.directory, f"{name}.json")

    def has(self, name: str) -> bool:
        """Whether there is a file of this name, also a broken one."""
        return os.path.lexists(self.path(name))

    def read(self, name: str) -> dict[str, Any] | None:
        """What a file says, without its form's version; None where there is none."""
        path = self.path(name)
        try:
            with open(path, encoding="utf-8") as stream:
                text = stream.read()
        except FileNotFoundError:
            return None
        except UnicodeDecodeError:
            raise self._errors.broken(path, "it is not UTF-8 text") from None
        except OSError as error:
            raise self._errors.denied(path, error, "read") from error
        return self._values(path, text)

    def _values(self, path: str, text: str) -> dict[str, Any]:
        try:
            values = json.loads(text)
        except ValueError as error:
            raise self._errors.broken(path, str(error)) from None
        if not isinstance(values, dict) or not isinstance(values.get("schema"), int):
            raise self._errors.broken(path, "it is no definition")
        schema = values.pop("schema")
        if schema > self._schema:
            raise self._errors.newer(path, schema, self._schema)
        return values

    def names(self) -> list[str]:
        try:
            entries = os.listdir(self.directory)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._errors.denied(self.directory, error, "read") from error
        stems = (entry[: -len(".json")] for entry in entries if entry.endswith(".json"))
        return sorted(stem for stem in stems if is_name(stem))

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Whatever the system says to what is done in here."""
        try:
            yield
        except OSError as error:
            raise self._errors.denied(str(error.filename or self.config_dir), error, "written") from error

    def make(self) -> None:
        """The directories, where they are missing. Inside `writing`."""
        make_directory(self.config_dir, 0o750)
        make_directory(self.directory, 0o750)

    def write(self, name: str, schema: int, values: Mapping[str, Any]) -> None:
        """Inside `writing`. `schema`: of the form that is written."""
        text = json.dumps({"schema": schema, **values}, indent=2, ensure_ascii=False)
        put_in_place(self.path(name), f"{text}\n", 0o640)

    def remove(self, name: str) -> None:
        """Inside `writing`."""
        remove_file(self.path(name))
