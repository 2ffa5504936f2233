# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the processes of one host tell each other about an app in a tenant: small files that no reboot has to outlive.

One file for each (authority, tenant, client id). It is locked only while it is read and changed, so nobody waits for
anybody who waits for Microsoft. Losing it loses no event: whatever is wrong with it is said once, and the run goes on
with a memory of its own.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from .config import Connection, from_environment
from .options import RUNTIME_DIR, TOKEN_CACHE

Content = dict[str, Any]
Result = TypeVar("Result")

_SYSTEM_DIRECTORY = "/run/wdatp"
# Of a file that an older or newer version has written, nothing is understood.
_FORMAT = b"1"
# A process that was stopped in the middle of its change must not stop the others.
_LOCK_SECONDS = 2.0


def boot_seconds() -> float:
    """A clock that all processes of the host share, and that setting the wall clock does not disturb."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


class Runtime:
    """The runtime directory in one run.

    `directories`: the first that can be used is; none: the run keeps all to itself. `warn` hears once of what is wrong.
    `check_mode`: refusals are read, but not noted (see refusals.py). `insists`: Entra ID is asked whatever they say.
    `keeps_tokens`: see tokencache.py.
    """

    def __init__(
        self,
        directories: Sequence[str] = (),
        warn: Callable[[str], None] = lambda text: None,
        check_mode: bool = False,
        insists: bool = False,
        clock: Callable[[], float] = boot_seconds,
        keeps_tokens: bool = False,
    ) -> None:
        self.keeps_tokens = keeps_tokens
        self.check_mode = check_mode
        self.insists = insists
        self.clock = clock
        self._candidates = list(directories)
        self._warn = warn
        self._directory: str | None = None
        self._own: dict[str, Content] = {}

    def notebook(self, connection: Connection) -> Notebook:
        identity, target = connection.identity, connection.target
        # Where the client ID is in a vault, the place there stands for it: nothing is asked for yet.
        client = identity.client_id or (identity.secret.describe() if identity.secret else "")
        parts = [target.authority_url, identity.tenant_id.lower(), client.lower()]
        name = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
        return Notebook(self, name, self._own.setdefault(name, {}))

    def path(self, name: str) -> str | None:
        """Where a file of this name is; None where no directory can be used."""
        reasons = []
        while self._directory is None and self._candidates:
            candidate = self._candidates.pop(0)
            try:
                _make_private(candidate)
                self._directory = candidate
            except OSError as error:
                reasons.append(f"{candidate} ({error.strerror or error})")
        if self._directory is None:
            if reasons:
                self._say(", ".join(reasons))
            return None
        return os.path.join(self._directory, name)

    def give_up(self, error: OSError) -> None:
        """The directory turned out to be of no use."""
        self._say(f"{self._directory} ({error.strerror or error})")
        self._directory = None
        self._candidates = []

    def _say(self, what: str) -> None:
        self._warn(
            f"No runtime directory can be used: {what}. This run goes on, but does not know what other runs of the same"
            " app know: its pace, and what Entra ID has refused."
            " Set runtime_dir to a directory of the user who runs this."
        )


def runtime_of(
    options: Mapping[str, Any], warn: Callable[[str], None], check_mode: bool = False, insists: bool = False
) -> Runtime:
    """The runtime that the option runtime_dir, its environment variable or the default means. OptionError."""
    said = from_environment((RUNTIME_DIR, TOKEN_CACHE), os.environ)
    named, keeps = (
        said.get(option.name) if options.get(option.name) is None else options[option.name]
        for option in (RUNTIME_DIR, TOKEN_CACHE)
    )
    directories = [named] if named else default_directories()
    return Runtime(directories, warn, check_mode, insists, keeps_tokens=bool(keeps) and not insists)


def default_directories() -> list[str]:
    """Where the files are unless told otherwise, the best place first. All are emptied by a reboot, or may be."""
    user = os.geteuid()
    found = []
    if os.path.isdir(_SYSTEM_DIRECTORY) or (user == 0 and os.path.isdir(os.path.dirname(_SYSTEM_DIRECTORY))):
        found.append(_SYSTEM_DIRECTORY)
    if os.environ.get("XDG_RUNTIME_DIR"):
        found.append(os.path.join(os.environ["XDG_RUNTIME_DIR"], "wdatp"))
    return [*found, os.path.join(tempfile.gettempdir(), f"wdatp-{user}")]


def _make_private(path: str) -> None:
    """The directory, made where it is missing. OSError unless it is a real one of ours, where nobody else writes."""
    os.makedirs(path, 0o700, exist_ok=True)
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError("it is a link")
    if found.st_uid != os.geteuid():
        raise PermissionError("it belongs to another user")
    if found.st_mode & 0o022:
        raise PermissionError("others may write to it")
    if not os.access(path, os.W_OK | os.X_OK):
        raise PermissionError("it can't be written to")


class Notebook:
    """What is known of one app in one tenant, as JSON values by name."""

    def __init__(self, runtime: Runtime, name: str, own: Content) -> None:
        self.runtime = runtime
        # What only this run knows.
        self.own = own
        self._name = name

    def update(self, change: Callable[[Content], Result], creates: bool = False) -> Result:
        """What `change` makes of the content, which it may change; nobody else does at the same time.

        `creates`: a file that is missing is made. Where it is missing and not made, changes are lost.
        """
        path = self.runtime.path(self._name)
        if path is not None:
            try:
                return _update(path, change, creates, self.runtime.clock)
            except OSError as error:
                self.runtime.give_up(error)
        return change(self.own)


def _update(path: str, change: Callable[[Content], Result], creates: bool, clock: Callable[[], float]) -> Result:
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT if creates else 0)
    try:
        descriptor = os.open(path, flags, 0o600)
    except FileNotFoundError:
        if creates:
            raise
        return change({})
    with os.fdopen(descriptor, "r+b", buffering=0) as stream:
        if os.fstat(descriptor).st_uid != os.geteuid():
            raise PermissionError("a file in it belongs to another user")
        _lock(descriptor)
        now = clock()
        before, content = _read(stream.read(), now)
        result = change(content)
        after = json.dumps(content, separators=(",", ":")).encode()
        if after != before:
            # In place: a file that is renamed would take its lock along. Torn by a crash, it counts as empty.
            stream.seek(0)
            stream.truncate()
            stream.write(b"%s %r\n%s" % (_FORMAT, now, after))
    return result


def _read(text: bytes, now: float) -> tuple[bytes, Content]:
    """The content, as it stands there and as values. Empty where it is from before a reboot (that is: from the future),
    of another version, or torn."""
    head, _line_end, body = text.partition(b"\n")
    version, _space, written = head.partition(b" ")
    try:
        content: Content = json.loads(body) if version == _FORMAT and float(written) <= now else {}
    except ValueError:
        content = {}
    return (body, content) if content else (b"{}", {})


def _lock(descriptor: int) -> None:
    """Until the descriptor is closed. TimeoutError where somebody else has it too long."""
    until = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > until:
                raise TimeoutError("another process keeps a file in it locked") from None
            time.sleep(0.001)
