# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are put in place as a whole, and that belong to whoever owns the directory that they are in: so root may
define and run what an account without privileges uses."""

from __future__ import annotations

import os
import tempfile


def mode_of(path: str) -> int:
    try:
        return os.stat(path).st_mode & 0o777
    except OSError:
        return 0


def make_directory(path: str, mode: int, enforce: bool = False) -> None:
    """Make a directory of this mode; one that is there already keeps its own, unless `enforce` tightens it."""
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.mkdir(path, mode)
    except FileExistsError:
        if not enforce or not mode_of(path) & ~mode:
            return
        os.chmod(path, mode)
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        give_to_owner_of(os.path.dirname(path), descriptor)
        # The process's umask may have taken away bits.
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


def put_in_place(path: str, content: str | bytes, mode: int) -> None:
    """Put a file in place as a whole; at no moment can anybody read it who may not read it in the end."""
    directory = os.path.dirname(path)
    # mkstemp makes files of mode 0600, and never opens one that is there.
    descriptor, temporary = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=directory)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content.encode() if isinstance(content, str) else content)
            stream.flush()
            give_to_owner_of(directory, descriptor)
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    sync_directory(directory)


def remove_file(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    sync_directory(os.path.dirname(path))


def open_or_create(path: str, flags: int, mode: int) -> int:
    """As os.open with O_CREAT; a file that is new belongs to the owner of its directory. OSError."""
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        return os.open(path, flags | os.O_CREAT, mode)
    try:
        give_to_owner_of(os.path.dirname(os.path.abspath(path)), descriptor)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def give_to_owner_of(directory: str, descriptor: int) -> None:
    if os.geteuid() == 0:
        owner = os.stat(directory)
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def sync_directory(directory: str) -> None:
    """Make a rename or removal durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
