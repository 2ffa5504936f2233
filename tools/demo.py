# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show the collection at work: `python3 tools/demo.py`.

It sets up all that it needs in .local/ of the checkout, starts a mock tenant, unless WDATP_TENANT_ID, WDATP_CLIENT_ID
and a secret or certificate name a real one, and runs playbooks/first_alerts.yml. Arguments go to ansible-playbook.
"""

# No annotations from __future__: an old Python has to get as far as this sentence.
import os
import sys

if sys.version_info < (3, 11):
    sys.exit(f"This needs Python 3.11 or later; this is Python {sys.version_info[0]}.{sys.version_info[1]}.")
# Nothing is written outside .local/, not even what Python makes of the tools' own files.
sys.dont_write_bytecode = True

import contextlib
import fcntl
import json
import re
import secrets
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from collection import build_and_install_collection
from common import LOCAL, REQUIREMENTS, ROOT, ToolError, ensure_venv, must, private_env
from pythons import own_python

PLAYBOOK = "secops.defender.first_alerts"
DEMO = LOCAL / "demo"
# Every process of a playbook has this in its environment, so that none can be left behind.
_MARK, _RUN = "SECOPS_DEFENDER_DEMO", secrets.token_hex(8)
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Less than the day that the first pull looks back, so that it gets them all; a dozen in the last quarter of an hour.
_MOCK_KNOBS = {"alerts": 1000, "span": "23h", "recent_share": 0.014}
_SECRETS = ("WDATP_CLIENT_SECRET", "WDATP_CLIENT_CERTIFICATE_PATH", "AZURE_FEDERATED_TOKEN_FILE")


def main(arguments: list[str]) -> int:
    for number in _SIGNALS:
        signal.signal(number, _interrupt)
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
        return 0
    try:
        with _alone(), _temporary_directory():
            return _demo(arguments)
    except ToolError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, BrokenPipeError):
        print("\nThe demo was stopped.", file=sys.stderr)
        return 130


def _interrupt(number: int, frame: Any) -> None:
    """The first signal ends the demo; further ones must not end its tidying up."""
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def _demo(arguments: list[str]) -> int:
    real = _real_tenant()
    print("secops.defender: from a credential to the first alerts\n")
    with _step("1", "Python environment with ansible-core, msal and requests"):
        venv = _environment()
    with _step("2", "Collection built, and installed in it"):
        collections = LOCAL / "collections"
        build_and_install_collection(venv, collections)
    home = _home(real)
    env = private_env(
        venv,
        ANSIBLE_COLLECTIONS_PATH=collections,
        ANSIBLE_CONFIG=ROOT / "tools" / "demo" / "ansible.cfg",
        ANSIBLE_HOME=LOCAL / "home" / ".ansible",
        ANSIBLE_LOG_PATH=home / "ansible.log",
    )
    if real:
        print(f"3. Tenant: {real['WDATP_TENANT_ID']}, from the environment")
        return _show(home, env | real | _host(venv, real), {}, arguments)
    with _mock_tenant(venv, home / "tenant", env) as tenant:
        return _show(home, env | _environment_of(tenant), {"mock_control_url": tenant["control_url"]}, arguments)


# --- what is set up ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """One demo at a time in a checkout; the kernel frees the lock when its holder dies."""
    DEMO.mkdir(parents=True, exist_ok=True)
    with (DEMO / ".lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ToolError("The demo already runs in this checkout. Wait until it ends, then run it again.") from None
        yield


@contextlib.contextmanager
def _temporary_directory() -> Iterator[None]:
    """For all that is started here: what is stopped in the middle leaves its temporary files there."""
    directory = DEMO / "tmp"
    directory.mkdir(exist_ok=True)
    os.environ["TMPDIR"] = str(directory)
    try:
        yield
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def _step(number: str, about: str) -> Iterator[None]:
    """Says what is being done, shows that it goes on, and says how long it took."""
    print(f"{number}. {about} ", end="", flush=True)
    started, done = time.monotonic(), threading.Event()

    def tick() -> None:
        while not done.wait(2):
            print(".", end="", flush=True)

    thread = threading.Thread(target=tick, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    print(f" {time.monotonic() - started:.1f} s", flush=True)


def _environment() -> Path:
    try:
        return ensure_venv("run", REQUIREMENTS / "run.txt", own_python())
    except ToolError as error:
        if " -m pip install " not in str(error):
            raise
        raise ToolError(
            f"{error}\n\nThe packages in tools/requirements/run.txt could not be installed, see above. pip needs a way"
            " to a package index: behind a proxy, set HTTPS_PROXY; with an index of your own, PIP_INDEX_URL."
        ) from None


def _home(real: dict[str, str]) -> Path:
    """Where a run keeps its things: a real tenant's stay for the next run, a mock tenant is a new one each time."""
    os.umask(0o077)
    name = re.sub(r"[^A-Za-z0-9.-]", "_", real["WDATP_TENANT_ID"]).strip(".") if real else "mock"
    home = DEMO / name
    if not real:
        shutil.rmtree(home, ignore_errors=True)
    home.mkdir(exist_ok=True)
    (home / "ansible.log").unlink(missing_ok=True)
    return home


# --- the tenant -------------------------------------------------------------------------------------------------------


def _real_tenant() -> dict[str, str]:
    """The variables that name a real tenant and say how to ask it; empty where there is none."""
    given = {name: value for name, value in os.environ.items() if name.startswith(("WDATP_", "AZURE_")) and value}
    names = ["WDATP_TENANT_ID", "WDATP_CLIENT_ID"]
    if given.get("WDATP_AUTH_METHOD") == "managed_identity":
        names.remove("WDATP_CLIENT_ID")
    elif not any(name in given for name in _SECRETS):
        names.append(_SECRETS[0])
    missing = [name for name in names if name not in given]
    if missing and any(name in given for name in (*names, *_SECRETS[:2])):
        raise ToolError(
            f"Half a tenant: {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set. Set what is"
            " missing to ask your tenant, or unset the other WDATP_ variables to see the demo with a mock tenant."
        )
    return {} if missing else given


def _host(venv: Path, real: dict[str, str]) -> dict[str, str]:
    """The API's host, where the environment names a cloud or an API without it: from the collection's own table."""
    if "WDATP_HOST" in real or not {"WDATP_CLOUD", "WDATP_API"} & set(real):
        return {}
    cloud, api = real.get("WDATP_CLOUD", "commercial"), real.get("WDATP_API", "graph_alerts")
    script = "import sys, _wdatp.clouds as c; print(c.CLOUDS[sys.argv[1]].hosts[sys.argv[2]])"
    env = private_env(venv, PYTHONPATH=ROOT / "plugins" / "module_utils")
    try:
        return {"WDATP_HOST": must([venv / "bin" / "python", "-c", script, cloud, api], env).strip()}
    except ToolError:
        # A name that does not exist: the modules say it better.
        return {}


@contextlib.contextmanager
def _mock_tenant(venv: Path, directory: Path, env: dict[str, str]) -> Iterator[dict[str, str]]:
    """A mock tenant, as it describes itself, for as long as the block runs."""
    directory.mkdir()
    ready, knobs = directory / "ready.json", directory / "knobs.json"
    knobs.write_text(json.dumps(_MOCK_KNOBS))
    command = [f"{venv}/bin/python", f"{ROOT}/tests/mock_api", "--dir", str(directory), "--config", str(knobs)]
    command += ["--ready-file", str(ready), "--parent-pid", str(os.getpid())]
    own_secret = {"MOCK_CLIENT_SECRET": secrets.token_urlsafe(24)}
    with (directory / "errors.txt").open("w+") as errors:
        # Its output names the secret, which is nobody's business.
        process = subprocess.Popen(
            command, env=env | own_secret, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True
        )
        try:
            with _step("3", "Mock tenant started"):
                while not ready.exists():
                    if process.poll() is not None:
                        errors.seek(0)
                        raise ToolError(f"The mock tenant did not start: {errors.read().strip()}")
                    time.sleep(0.05)
            yield json.loads(ready.read_text())
        finally:
            _end(process, signal.SIGTERM)
            # Its keys and its secret.
            shutil.rmtree(directory, ignore_errors=True)


def _environment_of(tenant: dict[str, str]) -> dict[str, str]:
    names = ("tenant_id", "client_id", "client_secret", "authority_url", "api_url", "ca_path")
    found = {f"WDATP_{name.upper()}": tenant[name] for name in names}
    # The way to it leads through no proxy.
    return found | {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


# --- the playbook -----------------------------------------------------------------------------------------------------


def _show(home: Path, env: dict[str, str], more: dict[str, str], arguments: list[str]) -> int:
    print(f"4. ansible-playbook {PLAYBOOK}  (playbooks/first_alerts.yml)", flush=True)
    columns = min(max(shutil.get_terminal_size((80, 24)).columns, 80), 120)
    variables = {"defender_dir": str(home), "defender_columns": columns, **more}
    command = [env["VIRTUAL_ENV"] + "/bin/ansible-playbook", PLAYBOOK, "-e", json.dumps(variables), *arguments]
    # A session of its own: Ctrl-C comes here, and from here it goes on to all of them in good order.
    process = subprocess.Popen(
        command, cwd=ROOT, env=env | {_MARK: _RUN}, stdin=subprocess.DEVNULL, start_new_session=True
    )
    try:
        code = process.wait()
    finally:
        _end(process, signal.SIGINT)
        _end_strays()
    if code != 0:
        raise ToolError(_what_failed(home / "ansible.log", code))
    _say_what_next(home, is_real=not more)
    return 0


def _what_failed(log: Path, code: int) -> str:
    text = log.read_text(errors="replace") if log.is_file() else ""
    tasks = re.findall(r"TASK \[(.+?)\] \*", text.partition("fatal: ")[0])
    if "fatal: " not in text or not tasks:
        return f"ansible-playbook ended with {code}; the message above says why."
    return f'The demo stopped in the step "{tasks[-1]}"; the message above says what is wrong and what to change.'


def _say_what_next(home: Path, is_real: bool) -> None:
    place = home.relative_to(Path.cwd()) if home.is_relative_to(Path.cwd()) else home
    file = home / "alerts.jsonl"
    count = sum(1 for _line in file.open("rb")) if file.is_file() else 0
    print(f"The alerts are in {place}/alerts.jsonl:\n{count} lines, each an alert just as the API sent it.\n")
    print((_NEXT_REAL if is_real else _NEXT_MOCK).format(place=place, playbook=PLAYBOOK))


_NEXT_MOCK = """\
Next, the same with your own tenant. This says where to get what is in <>:
https://github.com/secops-defender/secops.defender#first-use-with-a-real-tenant

  export WDATP_TENANT_ID=<directory (tenant) ID>
  export WDATP_CLIENT_ID=<application (client) ID>
  read -rs WDATP_CLIENT_SECRET && export WDATP_CLIENT_SECRET  # paste its value, Enter
  python3 tools/demo.py

Or in your own Ansible, with requests and msal beside it, and the same variables:

  ansible-galaxy collection install \\
    git+https://github.com/secops-defender/secops.defender.git
  ANSIBLE_CALLBACK_RESULT_FORMAT=yaml ansible-playbook {playbook}"""

_NEXT_REAL = """\
The credential (with its secret) and the state are there too; only you can read
them. Run this again, and it fetches what is new. To be rid of all of it:

  rm -r {place}

Next, in your own Ansible, with requests and msal beside it (it uses ~/wdatp):

  ansible-galaxy collection install \\
    git+https://github.com/secops-defender/secops.defender.git
  ANSIBLE_CALLBACK_RESULT_FORMAT=yaml ansible-playbook {playbook}"""


# --- the end ----------------------------------------------------------------------------------------------------------


def _end(process: "subprocess.Popen[bytes]", first: int) -> None:
    """Ends a process that may still run, with its group: politely, then firmly."""
    for number, seconds in ((first, 5), (signal.SIGTERM, 3), (signal.SIGKILL, 3)):
        if process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, number)
            process.wait(seconds)


def _end_strays() -> None:
    """Ansible's workers and modules have sessions of their own, and outlive an interrupted playbook."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in _strays():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        for _try in range(20):
            if not _strays():
                return
            time.sleep(0.1)


def _strays() -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        # Other users' processes, and those that have just ended.
        with contextlib.suppress(OSError):
            if f"{_MARK}={_RUN}".encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
