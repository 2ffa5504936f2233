# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file that grows by whole lines: each event once, also across crashes, and never taking back what a reader has seen.

Before a batch is written, the store notes in the batch's own transaction where in the file it will begin (the intent).
After a crash the file is compared with the batch from there on, and only what is missing is appended: a torn last line
is finished, not cut off.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat

from ..errors import DestinationError
from ..files import open_or_create, sync_directory
from ..formats import RENDER, Outgoing
from ..presence import Stretch, rotated
from ..store import Progress

_MODE = 0o640
_BLOCK = 1 << 20


class FileDestination:
    """One output file, locked while a run lasts."""

    kind = "file"

    def __init__(self, path: str, text_format: str = "raw") -> None:
        self.target = path
        self.format = text_format
        self._render = RENDER[text_format]
        self._handle = -1

    # --- open and close --------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Opens or creates the file and locks it. DestinationError."""
        if self._handle >= 0:
            return
        try:
            handle = open_or_create(self.target, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC, _MODE)
        except OSError as error:
            raise self._error(error) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The entry in the directory has to survive a power cut as well.
            sync_directory(os.path.dirname(os.path.abspath(self.target)))
        except OSError as error:
            os.close(handle)
            raise self._error(error) from error
        self._handle = handle

    def _follow_path(self) -> None:
        """Opens the file anew where the path has come to name another one (log rotation)."""
        if self._handle >= 0:
            own = os.fstat(self._handle)
            try:
                named = os.stat(self.target)
                is_same = (named.st_dev, named.st_ino) == (own.st_dev, own.st_ino)
            except OSError:
                is_same = False
            if not is_same:
                self.close()
        self.open()

    def close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    # --- what is there ---------------------------------------------------------------------------------------------

    def strange(self, progress: Progress, since: float) -> tuple[Progress, list[Stretch]]:
        """The parts of the file, and of those that rotation made of it, that the store has not written, oldest first:
        its state is older than the files, or somebody else wrote there. And the progress that takes them for read.

        `since`: of a destination that is new, rotated files from before that time (seconds since 1970) don't count.
        """
        found: list[Stretch] = []
        newest = progress.mtime
        for path in rotated(self.target):
            old = _regular(path)
            start = None if old is None else self._strange_from(old, progress, since)
            if old is not None and start is not None:
                found.append(Stretch(path, start))
                # Once is enough.
                newest = max(newest, old.st_mtime_ns)
        now = _regular(self.target)
        if now is None:
            return progress._replace(mtime=newest), found
        is_same = (now.st_dev, now.st_ino) == (progress.device, progress.inode)
        start = progress.end if is_same and 0 <= progress.end <= now.st_size else 0
        if start < now.st_size:
            found.append(Stretch(self.target, start))
        seen = {"device": now.st_dev, "inode": now.st_ino, "end": now.st_size, "mtime": max(newest, now.st_mtime_ns)}
        return progress._replace(**seen), found

    @staticmethod
    def _strange_from(rotated_file: os.stat_result, progress: Progress, since: float) -> int | None:
        """From where on a rotated file is unknown; None where nothing of it is."""
        now = rotated_file
        if (now.st_dev, now.st_ino) == (progress.device, progress.inode):
            # The file itself, moved: the rule.
            return progress.end if 0 <= progress.end < now.st_size else None
        is_newer = now.st_mtime_ns > progress.mtime if progress.end >= 0 else now.st_mtime >= since
        return 0 if is_newer else None

    def everything(self, since: float) -> list[Stretch]:
        """The file and those that rotation made of it since that time (seconds since 1970), oldest first.

        DestinationError where their directory is away: then nobody knows what they hold.
        """
        directory = os.path.dirname(self.target)
        if not os.path.isdir(directory):
            raise self._error(FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), directory))
        known = [(path, _regular(path)) for path in rotated(self.target)]
        paths = [path for path, found in known if found is not None and found.st_mtime >= since]
        return [Stretch(path, 0) for path in [*paths, self.target] if _regular(path)]

    # --- writing ---------------------------------------------------------------------------------------------------

    def intent(self, progress: Progress, batch_id: int) -> Progress:
        """Where the file stands before a batch: what the store has to know before `write`."""
        self._follow_path()
        try:
            self._begin_line()
            found = os.fstat(self._handle)
        except OSError as error:
            raise self._error(error) from error
        size, place = found.st_size, {"device": found.st_dev, "inode": found.st_ino}
        return progress._replace(intent=batch_id, position=size, end=size, **place)

    def _begin_line(self) -> None:
        """Ends a line that somebody has left torn: ours must not be glued to it."""
        size = os.fstat(self._handle).st_size
        if size and os.pread(self._handle, 1, size - 1) != b"\n":
            self._append(memoryview(b"\n"))

    def write(self, progress: Progress, batch: Outgoing) -> Progress:
        """Appends what the file lacks of the batch that `progress` intends, down to the disk. DestinationError."""
        self.open()
        text = self._render(batch)
        try:
            done = self._already_there(progress, text) or 0
            if not done:
                self._begin_line()
            self._append(memoryview(text)[done:])
            os.fsync(self._handle)
            if os.fstat(self._handle).st_nlink == 0:
                # Deleted by somebody in the meantime: what is only in there would be lost.
                self._follow_path()
                self._append(memoryview(text))
                os.fsync(self._handle)
            now = os.fstat(self._handle)
        except OSError as error:
            raise self._error(error) from error
        # Where all of it was there, something else may stand behind it.
        end = progress.position + done if done == len(text) else now.st_size
        place = {"device": now.st_dev, "inode": now.st_ino, "end": end, "mtime": now.st_mtime_ns}
        return progress._replace(acked=batch.id, intent=None, **place)

    def is_begun(self, progress: Progress, batch: Outgoing) -> bool:
        """Whether the file goes on from the intended position as the batch does: it only has to be finished.

        If not, the file was moved away, cut short or written to by somebody, and what it holds of the batch has to be
        looked for. DestinationError.
        """
        self.open()
        try:
            return self._already_there(progress, self._render(batch)) is not None
        except OSError as error:
            raise self._error(error) from error

    def _append(self, text: memoryview) -> None:
        while text:
            text = text[os.write(self._handle, text) :]

    def _already_there(self, progress: Progress, text: bytes) -> int | None:
        """How many bytes of the batch the file holds behind the intended position; None where that can't be told."""
        found = os.fstat(self._handle)
        if (found.st_dev, found.st_ino) != (progress.device, progress.inode) or found.st_size < progress.position:
            # Moved away, or cut short by somebody.
            return None
        done = 0
        while done < len(text):
            block = os.pread(self._handle, min(_BLOCK, len(text) - done), progress.position + done)
            if not block:
                return done
            if text[done : done + len(block)] != block:
                # Somebody else has written there.
                return None
            done += len(block)
        return done

    # --- errors ----------------------------------------------------------------------------------------------------

    def _error(self, error: OSError) -> DestinationError:
        path = self.target
        if isinstance(error, BlockingIOError):
            return DestinationError(
                f"The output file {path} is being written by another pull.",
                "Give each pull that runs at the same time a file of its own.",
                code="destination.busy",
            )
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return DestinationError(
                f"No space is left for the output file {path}.",
                "Free space on that file system and run again: the events wait in the outbox.",
                code="destination.full",
            )
        directory = os.path.dirname(os.path.abspath(path))
        if error.errno == errno.ENOENT or not os.path.isdir(directory):
            return DestinationError(
                f"The directory {directory} of the output file does not exist.",
                "Create it, owned by the user who pulls, or set another path in destinations.",
                code="destination.no_directory",
            )
        return DestinationError(
            f"The output file {path} can't be written: {error.strerror}.",
            "Check its path, its owner and its rights.",
            code="destination.not_writable",
        )


def _regular(path: str) -> os.stat_result | None:
    """What the system knows of a file; None where there is none that could be read twice."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found if stat.S_ISREG(found.st_mode) else None
