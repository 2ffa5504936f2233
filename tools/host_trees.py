# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Root file systems of Debian releases, to boot test hosts from: a minimal server with Python, sshd, sudo and cron.

They are made by debootstrap and kept in .local/hosts. What this machine needs to reach Debian's and Python's packages
(mirror, proxy, CA, pip's settings) is carried over to them.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import platform
import shutil
import sys
import time
from pathlib import Path

from common import LOCAL, ToolError, locked, must, private_env, run

# Debian's releases that the role is tested on; the first is enough for every change, all are for a release.
RELEASES = ("bookworm", "bullseye", "trixie")
_PYTHONS = {"bullseye": "3.9", "bookworm": "3.11", "trixie": "3.13"}
_PACKAGES = (
    "ca-certificates",
    "cron",
    "dbus",
    "iproute2",
    "openssh-server",
    "procps",
    "python3",
    "sudo",
    "systemd",
    "systemd-sysv",
)
# Not installed, only at hand: installing them is the role's work, but need not cost a download every time.
_AT_HAND = ("python3-msal", "python3-requests", "python3-venv")
# What the machine itself needs: program and Debian's package.
_TOOLS = {"debootstrap": "debootstrap", "systemd-nspawn": "systemd-container"}
_MIRROR, _SECURITY = "http://deb.debian.org/debian", "http://deb.debian.org/debian-security"
_CA = Path("/etc/ssl/certs/ca-certificates.crt")
# Package lists that are older than this make apt ask for files that are not there any more.
_SECONDS = 7 * 86400


def why_not() -> str:
    """What this machine lacks to boot hosts; empty where it lacks nothing that can't be installed."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "needs root on Linux, to boot hosts by systemd-nspawn"
    if any(not shutil.which(program) for program in _TOOLS) and not shutil.which("apt-get"):
        return "needs debootstrap and systemd-nspawn"
    return ""


def ensure_tree(release: str) -> Path:
    """The root file system of a release; made where it is missing, old, or was made in another way."""
    tree = LOCAL / "hosts" / release
    stamp = tree.with_suffix(".complete")
    recipe = hashlib.sha256(inspect.getsource(sys.modules[__name__]).encode()).hexdigest()
    with locked(f"host-{release}"):
        _install_tools()
        fresh = stamp.is_file() and time.time() - stamp.stat().st_mtime < _SECONDS
        if not fresh or stamp.read_text() != recipe:
            stamp.unlink(missing_ok=True)
            _make(tree, release)
            stamp.write_text(recipe)
    return tree


def ensure_wheels(release: str, venv: Path) -> Path:
    """A directory with all wheels that a host of this release needs, fetched by the pip of an environment here."""
    wheels = LOCAL / "hosts" / f"{release}-wheels"
    stamp = wheels / "complete"
    with locked(f"wheels-{release}"):
        if not stamp.is_file():
            wanted = ["--only-binary=:all:", f"--python-version={_PYTHONS[release]}", f"--dest={wheels}"]
            wanted += [f"--platform=manylinux_2_{minor}_{platform.machine()}" for minor in (17, 28)]
            wanted += [f"--platform=manylinux2014_{platform.machine()}", "pip", "requests", "msal"]
            # pip asks its own Python whether that is needed, and not the host's.
            wanted.append("typing_extensions")
            must([venv / "bin" / "python", "-m", "pip", "download", "--quiet", *wanted], private_env(venv))
            stamp.touch()
    return wheels


def _install_tools() -> None:
    missing = [package for program, package in _TOOLS.items() if not shutil.which(program)]
    if missing:
        with locked("apt"):
            must(["apt-get", "update", "--quiet"])
            must(["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *missing], _unattended())


def _unattended() -> dict[str, str]:
    return os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}


def _make(tree: Path, release: str) -> None:
    shutil.rmtree(tree, ignore_errors=True)
    tree.parent.mkdir(parents=True, exist_ok=True)
    must(["debootstrap", "--variant=minbase", f"--include={','.join(_PACKAGES)}", release, tree, _MIRROR])
    # Debian's own suites: a server gets its fixes.
    (tree / "etc/apt/sources.list").write_text(
        f"deb {_MIRROR} {release} main\ndeb {_MIRROR} {release}-updates main\ndeb {_SECURITY} {release}-security main\n"
    )
    _carry_over(tree)
    _settle(tree)


def _carry_over(tree: Path) -> None:
    """This machine's way to package servers: apt's proxy, the CA that it trusts, pip's settings, its resolver."""
    settings = must(["apt-config", "dump"]) if shutil.which("apt-config") else ""
    proxies = [line for line in settings.splitlines() if line.startswith("Acquire::http") and "::Proxy" in line]
    (tree / "etc/apt/apt.conf.d/90proxy").write_text("".join(f"{line}\n" for line in proxies))
    named = (os.environ.get(name) for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT"))
    bundle = next((Path(path) for path in named if path and Path(path).is_file()), _CA)
    if bundle.is_file():
        shutil.copyfile(bundle, tree / "usr/local/share/ca-certificates/machine.crt")
    if Path("/etc/pip.conf").is_file():
        shutil.copyfile("/etc/pip.conf", tree / "etc/pip.conf")
    shutil.copyfile("/etc/resolv.conf", tree / "etc/resolv.conf")


def _settle(tree: Path) -> None:
    """What is done once, so that each host boots into it: package lists, a user with sudo, nothing left to set up."""
    for command in (
        ["update-ca-certificates"],
        ["apt-get", "update", "--quiet"],
        ["apt-get", "install", "--yes", "--quiet", "--download-only", "--no-install-recommends", *_AT_HAND],
        ["useradd", "--create-home", "--shell", "/bin/bash", "admin"],
        ["systemctl", "enable", "ssh.service"],
    ):
        result = run(["chroot", tree, *command], _unattended())
        if not result.ok:
            raise ToolError(f"{' '.join(command)} failed in {tree}:\n{result.output.strip()}")
    (tree / "etc/sudoers.d/admin").write_text("admin ALL=(ALL) NOPASSWD: ALL\n")
    # Each host has its own; the journal is kept over a restart.
    (tree / "etc/machine-id").write_text("")
    (tree / "var/log/journal").mkdir(parents=True, exist_ok=True)
