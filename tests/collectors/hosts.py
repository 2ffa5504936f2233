# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Boots hosts: systemd as process 1, sshd, a disk of its own. They share the loopback, so a mock tenant is in reach.

    with Host(tree, directory, "one") as host:
        host.run("systemctl is-system-running")   # as root, past sshd
        host.inventory_line                       # how Ansible reaches it

The tree that a host is booted from stays clean: what a host writes goes to a layer above it, which goes away with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_BOOT_SECONDS = 90
# The exit code of systemd-nspawn whose host wants to be started again.
_REBOOT = 133
_UP = ("running", "degraded")
# Where control groups are made; hosts that share one would see, and end, each other's processes.
_CONTROL_GROUPS = ("/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SSHD = """\
ListenAddress 127.0.0.1:{port}
PermitRootLogin prohibit-password
PasswordAuthentication no
UseDNS no
"""


class Host:
    """A booted host. `offline`: it resolves no name."""

    def __init__(self, tree: Path, directory: Path, name: str, offline: bool = False) -> None:
        self.name = name
        self.port = _free_port()
        self.key = directory / name / "key"
        self._tree = tree
        self._directory = directory / name
        self._console = self._directory / "console.log"
        self._offline = offline
        self._process: subprocess.Popen[bytes] | None = None
        self._machine = f"wdatp-test-{os.getpid()}-{name}"

    def __enter__(self) -> Host:
        try:
            self._prepare()
            self.boot()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.cut_power()
        shutil.rmtree(self._directory, ignore_errors=True)
        for base in _CONTROL_GROUPS:
            _remove_groups(Path(base) / self._machine)

    # --- power

    def boot(self) -> None:
        """Switch it on, and wait until it can be used."""
        with self._console.open("ab") as console:
            self._process = subprocess.Popen(
                self._command(), stdin=subprocess.DEVNULL, stdout=console, stderr=console, preexec_fn=self._join_group
            )
        wait_for(self._is_up, f"the host {self.name} to boot, see {self._console}", _BOOT_SECONDS)

    def _command(self) -> list[str]:
        """Whatever becomes of the process that asks for a host: the host and its disk go with it.

        setpriv has its child ended with us; unshare puts the host into namespaces that end with that child.
        """
        layers = ",".join(f"{name}={self._directory / name[:-3]}" for name in ("upperdir", "workdir"))
        mount = f'mount -t overlay -o lowerdir={self._tree},{layers} overlay {self._directory / "root"} && exec "$@"'
        guard = ["setpriv", "--pdeathsig=KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        nspawn = ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", f"--machine={self._machine}"]
        nspawn += [f"--directory={self._directory / 'root'}", "--boot", "--console=pipe"]
        nspawn += ["--resolv-conf=off", "--timezone=off"]
        # Since 256 systemd only starts on a machine with control groups of version 1 if it is told to.
        return [*guard, "sh", "-c", mount, "sh", *nspawn, "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1"]

    def cut_power(self) -> None:
        """Everything on it ends at once, and nothing is tidied up."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def reboot(self) -> None:
        """As an administrator does it."""
        assert self._process is not None
        self.run("systemctl --no-block reboot")
        # Told to stay in its unit, it leaves the second start to whoever started it.
        assert self._process.wait(_BOOT_SECONDS) == _REBOOT
        self.boot()

    def _is_up(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError(f"the host has ended:\n{self._console.read_text(errors='replace')}")
        if self._leader() is None or self.run("systemctl is-system-running", check=False) not in _UP:
            return False
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as connection:
            connection.settimeout(5)
            return connection.recv(4) == b"SSH-"
        return False

    def _leader(self) -> int | None:
        """The process that is number 1 on the host: a grandchild, of unshare and systemd-nspawn."""
        pids = [] if self._process is None else [self._process.pid]
        for _generation in range(2):
            pids = [child for pid in pids for child in _children(pid)]
        return next((pid for pid in pids if _number_within(pid) == 1), None)

    # --- use

    def run(self, command: str, check: bool = True, timeout: float = 120) -> str:
        """What a shell command as root writes; both streams. AssertionError where it fails, unless `check` is off."""
        leader = self._leader()
        if leader is None:
            raise RuntimeError(f"the host {self.name} is not running")
        enter = ["nsenter", f"--target={leader}", "--mount", "--uts", "--ipc", "--pid", "--cgroup"]
        clean = ["env", "-i", f"PATH={_PATH}", "LC_ALL=C.UTF-8"]
        done = subprocess.run(
            [*enter, *clean, "sh", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
        assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}"
        return done.stdout.strip()

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.run(f"systemctl show --property={name} --value {unit}")

    def path(self, path: str) -> Path:
        """Where this machine sees a file of the host while it runs."""
        return Path(f"/proc/{self._leader()}/root") / path.lstrip("/")

    def inventory(self, user: str = "admin", **variables: Any) -> str:
        """An inventory with this host alone, as JSON, which is YAML."""
        host = {
            "ansible_host": "127.0.0.1",
            "ansible_port": self.port,
            "ansible_user": user,
            "ansible_become": user != "root",
            "ansible_ssh_private_key_file": str(self.key),
            "ansible_ssh_common_args": "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null",
            "ansible_pipelining": True,
            "ansible_python_interpreter": "/usr/bin/python3",
            **variables,
        }
        return json.dumps({"all": {"children": {"collectors": {"hosts": {self.name: host}}}}})

    # --- made before the first boot

    def _prepare(self) -> None:
        for layer in ("root", "upper", "work"):
            (self._directory / layer).mkdir(parents=True)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key)], check=True)
        for home in ("root", "home/admin"):
            self._write(f"{home}/.ssh/authorized_keys", self.key.with_suffix(".pub").read_text())
        self._write("etc/ssh/sshd_config.d/test.conf", _SSHD.format(port=self.port))
        self._write("etc/hostname", f"{self.name}\n")
        self._write("etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {self.name}\n")
        if self._offline:
            self._write("etc/resolv.conf", "nameserver 127.0.0.127\n")

    def _write(self, path: str, text: str) -> None:
        """Into the layer above the tree; what is new belongs to the owner of the directory that it is in."""
        upper = self._directory / "upper"
        made = [*reversed(Path(path).parents[:-1]), Path(path)]
        for part in made[:-1]:
            (upper / part).mkdir(exist_ok=True)
        (upper / path).write_text(text)
        owner = self._tree
        for part in made:
            owner = self._tree / part if (self._tree / part).exists() else owner
            shutil.copystat(owner, upper / part) if owner == self._tree / part else None
            os.chown(upper / part, owner.stat().st_uid, owner.stat().st_gid)

    def _join_group(self) -> None:
        for base in _CONTROL_GROUPS:
            if os.access(f"{base}/cgroup.procs", os.W_OK):
                os.makedirs(f"{base}/{self._machine}", exist_ok=True)
                Path(f"{base}/{self._machine}/cgroup.procs").write_text("0")


def wait_for(is_so: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """AssertionError where it does not become so in time."""
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until, f"waited {seconds:.0f} seconds for {what}"
        time.sleep(0.25)


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _number_within(pid: int) -> int:
    """The number of a process in the innermost namespace that it is in."""
    try:
        return int(Path(f"/proc/{pid}/status").read_text().partition("NSpid:")[2].split("\n")[0].split()[-1])
    except OSError:
        return 0


def _remove_groups(top: Path) -> None:
    """Once the last process has left it; that takes a moment."""
    with contextlib.suppress(AssertionError):
        wait_for(lambda: not _remove_empty(top), f"{top} to become empty", 5)


def _remove_empty(top: Path) -> bool:
    """Remove the groups that nobody is in; whether any is left."""
    for folder, _folders, _files in os.walk(top, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(folder)
    return top.exists()


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
