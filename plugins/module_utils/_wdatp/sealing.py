# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts encrypted with this host's own key, by systemd-creds: of no use on another host, or in a backup without it.

Source: systemd-creds(1), of systemd 250 and later. Only the host's key is used (/var/lib/systemd/credential.secret),
never the TPM unasked: what is sealed to a TPM can't be read any more once the Secure Boot databases are updated
(github.com/systemd/systemd/issues/42028).
"""

from __future__ import annotations

import os
import shutil
import subprocess

from .errors import CredentialError

_PROGRAM = "systemd-creds"
_PLACES = "/usr/local/bin:/usr/bin:/bin"
_SECONDS = 30
# Present where systemd is process 1 (sd_booted(3)): elsewhere, as in a container, the key may not outlive a restart.
_BOOTED = "/run/systemd/system"


def is_natural() -> bool:
    """Whether sealing is what one would expect here: the program is there, systemd runs the host, and we are root."""
    return os.geteuid() == 0 and os.path.isdir(_BOOTED) and _program() is not None


def check_possible() -> None:
    """CredentialError where sealing could only fail, without trying it."""
    if _program() is None:
        raise _no_program()
    if os.geteuid() != 0:
        raise _failed("encrypt", "only root may use it")


def seal(name: str, text: str) -> str:
    """The text in encrypted form; `name` is sealed in with it. CredentialError where this host can't do that."""
    return _run(name, "encrypt", "-", text, "--with-key=host")


def unseal(name: str, path: str) -> str:
    """The text of a file that `seal` made under this name. CredentialError."""
    return _run(name, "decrypt", path, "")


def unseal_text(name: str, sealed: str) -> str:
    """As unseal, of what `seal` returned."""
    return _run(name, "decrypt", "-", sealed)


def _program() -> str | None:
    return shutil.which(_PROGRAM, path=_PLACES)


def _run(name: str, verb: str, source: str, text: str, *more: str) -> str:
    """Secrets pass through pipes, and never stand among the arguments."""
    program = _program()
    if program is None:
        raise _no_program()
    command = [program, verb, *more, f"--name={name}", source, "-"]
    try:
        # The engine knows no AnsibleModule, whose run_command would be used elsewhere.
        done = subprocess.run(  # pylint: disable=ansible-bad-function
            command, input=text.encode(), capture_output=True, timeout=_SECONDS, check=False, env={"PATH": _PLACES}
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        # The error's own text has the command, and no more than that.
        raise _failed(verb, type(error).__name__) from None
    if done.returncode:
        raise _failed(verb, _last_line(done.stderr))
    return done.stdout.decode("utf-8", "replace")


def _no_program() -> CredentialError:
    return CredentialError(
        f"There is no {_PROGRAM} on this host.",
        "It comes with systemd 250 and later. Set secret_storage to file, or install it.",
        code="credential.sealing",
    )


def _last_line(text: bytes) -> str:
    lines = text.decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:200] if lines else "it gave no reason"


def _failed(verb: str, why: str) -> CredentialError:
    doing = {"encrypt": "encrypted with", "decrypt": "decrypted with"}[verb]
    return CredentialError(
        f"The credential's secrets can't be {doing} this host's key: {why.rstrip('.')}.",
        "Only root can do that (become: true). After a new installation or a restore without"
        " /var/lib/systemd/credential.secret, give the secrets again with wdatp_credential; or set secret_storage to"
        " file.",
        code="credential.sealing",
    )
