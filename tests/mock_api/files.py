# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that only their owner reads."""

from __future__ import annotations

import os
from pathlib import Path


def write_private(path: Path, content: bytes) -> Path:
    """A file that only its owner reads, from its first moment on."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as stream:
        stream.write(content)
    return path


def write_at_once(path: str, text: str) -> None:
    """Whoever waits for the file never sees half of it."""
    target = Path(path).absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    write_private(temporary, text.encode())
    os.replace(temporary, target)
