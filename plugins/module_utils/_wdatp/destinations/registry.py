# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Destinations from options."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import OptionError
from ..formats import FORMATS
from .file import FileDestination


def destinations_of(options: Sequence[Mapping[str, Any]] | None, state_dir: str) -> list[FileDestination]:
    """The destinations that are asked for; none asked for: a file in the state directory. OptionError."""
    found = [_one(item, state_dir) for item in options or [{}]]
    targets = [item.target for item in found]
    twice = sorted({target for target in targets if targets.count(target) > 1})
    if twice:
        raise OptionError(
            f"destinations: {', '.join(twice)} is named twice.", "Give each destination a path of its own."
        )
    return found


def _one(item: Mapping[str, Any], state_dir: str) -> FileDestination:
    kind, text_format = item.get("type") or "file", item.get("format") or "raw"
    if kind != "file":
        raise OptionError(f"destinations: there is no type {kind!r}.", "Use file.")
    if text_format not in FORMATS:
        raise OptionError(f"destinations: there is no format {text_format!r}.", f"Use {' or '.join(FORMATS)}.")
    path = item.get("path") or os.path.join(state_dir, "events.jsonl")
    return FileDestination(os.path.abspath(path), text_format)
