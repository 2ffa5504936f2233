# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tools share: places, sentences for people, commands, content hashes, virtual environments."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCAL = ROOT / ".local"
REQUIREMENTS = ROOT / "tools" / "requirements"

# A user's own settings for these would change what the tools see, or name a real tenant.
_FOREIGN_PREFIXES = ("ANSIBLE_", "AZURE_", "COVERAGE_", "HYPOTHESIS_", "MYPY", "PYTEST_", "PYTHON", "RUFF_", "WDATP_")
# The tests' own: they name no tenant, and whoever sets them means the tests.
_TEST_SETTINGS = ("WDATP_TEST_RELEASES", "WDATP_TEST_SEED", "WDATP_TEST_SHRINK", "WDATP_TEST_STEPS")
_VENV_HINT = (
    "Python's venv module is missing for {python}. Install it (Debian, Ubuntu: apt-get install python3-venv; "
    "Fedora and RHEL have it in python3), then run this command again."
)


class ToolError(Exception):
    """A sentence for the person at the terminal; no traceback."""


@dataclass(frozen=True)
class Result:
    code: int
    output: str

    @property
    def ok(self) -> bool:
        return self.code == 0


# --- commands ---------------------------------------------------------------------------------------------------------

_children: set[subprocess.Popen[str]] = set()
_stopping = threading.Event()


def run(
    command: Sequence[str | Path], env: Mapping[str, str] | None = None, cwd: Path = ROOT, timeout: float = 1200
) -> Result:
    """Run a command to its end and keep its output. What it leaves running is ended too."""
    if _stopping.is_set():
        raise ToolError("stopped")
    # A file, not a pipe: a pipe would stay open for as long as something the command started lives on.
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        try:
            process = subprocess.Popen(
                [str(part) for part in command],
                cwd=cwd,
                env=None if env is None else dict(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        except FileNotFoundError:
            raise ToolError(f"{command[0]} is not there. Install it, then run this command again.") from None
        _children.add(process)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            output.write(f"\nended after {timeout:.0f} seconds\n")
        finally:
            _end_group(process)
            _children.discard(process)
        output.seek(0)
        return Result(process.wait(), output.read())


def run_live(command: Sequence[str | Path], env: Mapping[str, str], cwd: Path = ROOT) -> int:
    """Run a command in the terminal: colours, debugger and Ctrl-C are the command's own."""
    return subprocess.run([str(part) for part in command], cwd=cwd, env=dict(env), check=False).returncode


def _end_group(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def must(command: Sequence[str | Path], env: Mapping[str, str] | None = None, cwd: Path = ROOT) -> str:
    """The output of a command that has to succeed."""
    result = run(command, env, cwd)
    if not result.ok:
        raise ToolError(f"{' '.join(str(part) for part in command)} failed ({result.code}):\n{result.output.strip()}")
    return result.output


def stopping() -> bool:
    return _stopping.is_set()


def stop_children() -> None:
    """End every command that is still running, with all that it started."""
    _stopping.set()
    for process in list(_children):
        _end_group(process)


def user_env(**more: str | Path) -> dict[str, str]:
    """The user's environment (pip settings, proxies, locale), less what would change what the tools see."""
    env = {name: value for name, value in os.environ.items() if not _is_foreign(name)}
    env.pop("VIRTUAL_ENV", None)
    env["PIP_CACHE_DIR"] = str(LOCAL / "cache" / "pip")
    env["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    return env | {name: str(value) for name, value in more.items()}


def _is_foreign(name: str) -> bool:
    return name.startswith(_FOREIGN_PREFIXES) and name not in _TEST_SETTINGS


def private_env(venv: Path, **more: str | Path) -> dict[str, str]:
    """An environment in which nothing is read from or written to the user's home, and `venv` comes first."""
    cache = LOCAL / "cache"
    return user_env(
        HOME=LOCAL / "home",
        HYPOTHESIS_STORAGE_DIRECTORY=cache / "hypothesis",
        # Ansible refuses to start in a locale that is not UTF-8.
        LC_ALL="C.UTF-8",
        PATH=os.pathsep.join([str(venv / "bin"), *_plain_path()]),
        PYTHONPYCACHEPREFIX=cache / "pycache",
        VIRTUAL_ENV=venv,
        XDG_CACHE_HOME=cache,
    ) | {name: str(value) for name, value in more.items()}


def _plain_path() -> list[str]:
    """PATH without pyenv's shims: they exist for versions that are not switched on, and then only fail."""
    return [part for part in os.environ.get("PATH", os.defpath).split(os.pathsep) if Path(part).name != "shims"]


# --- content ----------------------------------------------------------------------------------------------------------


def checkout_files() -> list[Path]:
    """The checkout's files, relative: tracked ones and new ones, without ignored ones."""
    names = must(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"])
    return sorted(path for path in map(Path, filter(None, names.split("\0"))) if os.path.lexists(ROOT / path))


def digest(files: Iterable[Path], *more: str) -> str:
    """A hash of names and contents; `files` are relative to the checkout."""
    total = hashlib.sha256("\0".join(more).encode())
    for path in files:
        content = os.readlink(ROOT / path).encode() if (ROOT / path).is_symlink() else (ROOT / path).read_bytes()
        total.update(f"\0{path}\0{len(content)}\0".encode() + content)
    return total.hexdigest()


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """One at a time, among threads and among processes; the kernel frees it when its holder dies."""
    path = LOCAL / "locks" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


# --- virtual environments ---------------------------------------------------------------------------------------------


def ensure_venv(name: str, requirements: Path, python: str | Path = sys.executable) -> Path:
    """The virtual environment `name` with exactly these requirements, made anew when they or Python changed."""
    venv = LOCAL / "venvs" / name
    stamp = venv / ".complete"
    version = must([python, "-c", "import sys; print(sys.version)"])
    wanted = hashlib.sha256(f"{python}\0{version}\0{_with_includes(requirements)}".encode()).hexdigest()
    with locked(f"venv-{name}"):
        if not stamp.is_file() or stamp.read_text() != wanted:
            _make_venv(venv, requirements, python)
            stamp.write_text(wanted)
    return venv


def require_venv_module(python: str | Path) -> None:
    if not run([python, "-c", "import venv, ensurepip"]).ok:
        raise ToolError(_VENV_HINT.format(python=python))


def _make_venv(venv: Path, requirements: Path, python: str | Path) -> None:
    require_venv_module(python)
    shutil.rmtree(venv, ignore_errors=True)
    must([python, "-m", "venv", venv], user_env())
    must([venv / "bin" / "python", "-m", "pip", "install", "--quiet", "--requirement", requirements], user_env())


def _with_includes(requirements: Path) -> str:
    """A requirements file's text, with that of the files it takes in."""
    text = requirements.read_text()
    parts = (line.partition(" ")[2].strip() for line in text.splitlines() if line.startswith("-r "))
    return text + "".join(_with_includes(requirements.parent / part) for part in parts)
