# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No secret gets out of a real ansible-playbook: what it says, logs, keeps, starts and leaves behind is searched.

Few playbooks with many tasks, and then many searches. What each stage of the engine says is searched in
tests/unit/plugins/module_utils/_wdatp/test_leaks_engine.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from canaries import (
    ENVIRONMENT_SECRET,
    FILE_SECRET,
    PROXY_PASSWORD,
    WRONG_SECRET,
    Hunt,
)
from canary_tenant import SECRETS, config, locked_certificates, spied
from harness import PlaybookRunner, Result
from mock_api import MockTenant
from mock_api.proxy import MockProxy
from pulls import CREDENTIAL, LOOKUP, PULL

TEST, INFO = "secops.defender.wdatp_test_connectivity", "secops.defender.wdatp_credential_info"
NOBODY = "00000000-1111-2222-3333-444444444444"
# What the user's own environment may hold: it is passed on to whatever runs in it.
OWN_VARIABLES = {"WDATP_CLIENT_SECRET", "HTTPS_PROXY"}
# A module of systemd's name, in place of the one by which modules write to the journal.
_JOURNAL = """\
import json, os
def send(**fields):
    with open(os.environ["FALSE_JOURNAL"], "a", encoding="utf-8") as stream:
        stream.write(json.dumps(fields, default=repr) + "\\n")
sendv = send
"""
# A library that fails with all that it was given in its text, in its variables and in what is behind its error.
_BROKEN_MSAL = """\
from urllib.parse import quote
__version__ = "1.34.0"
class ConfidentialClientApplication:
    def __init__(self, client_id, client_credential, **options):
        secret = str(client_credential)
        try:
            raise KeyError(quote(secret))
        except KeyError as error:
            raise RuntimeError(f"can't use {secret} or {[secret]!r}") from error
"""


class Watch:
    """Looks, as often as it can, at the arguments and the environment of every process that this one has started."""

    def __init__(self) -> None:
        self.arguments: set[str] = set()
        self.environment: set[str] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *unused: Any) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        ours, others = {os.getpid()}, set()
        while not self._over.wait(0.01):
            there = sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
            for number in there:
                if number in others or number == os.getpid():
                    continue
                if number not in ours and _parent(number) not in ours:
                    others.add(number)
                    continue
                ours.add(number)
                self.arguments.add(" ".join(_words(number, "cmdline")))
                self.environment |= set(_words(number, "environ"))


def _parent(number: int) -> int:
    try:
        return int(Path(f"/proc/{number}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return 0


def _words(number: int, name: str) -> list[str]:
    try:
        return Path(f"/proc/{number}/{name}").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return []


class World:
    """A tenant, others with faults, proxies, and files with secrets in them."""

    def __init__(self, stack: ExitStack, hunt: Hunt, directory: Path, collections_path: str) -> None:
        self.stack = stack
        self.hunt = hunt
        self.directory = directory
        self.collections_path = collections_path
        self.tenant = self.mock(ccp={}, expired_secrets=[WRONG_SECRET], unconsented_tenants=["other.example"])
        hunt.add("workload's token", Path(self.tenant.federated_token_file).read_text())
        self.proxy = stack.enter_context(MockProxy("carl", PROXY_PASSWORD, route_to=self.tenant.url))

    def mock(self, *faults: dict[str, Any], **knobs: Any) -> MockTenant:
        return self.stack.enter_context(MockTenant(config(faults=list(faults), **knobs)))

    def file(self, name: str, content: bytes) -> str:
        path = self.directory / name
        path.write_bytes(content)
        path.chmod(0o600)
        return str(path)

    def certificates(self) -> tuple[str, str]:
        """The app registration's certificate with its key, as PFX and as PEM, both locked."""
        packed, locked = locked_certificates(self.tenant)
        return self.file("app.pfx", packed), self.file("app.pem", locked)


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A short one, in place of pytest's: ansible-core makes sockets below TMPDIR, whose names end at 107 letters."""
    with tempfile.TemporaryDirectory(prefix="wdatp_leaks_") as place:
        yield Path(place)


@pytest.fixture(scope="module")
def hunt() -> Hunt:
    return Hunt(SECRETS)


@pytest.fixture(scope="module")
def world(hunt: Hunt, tmp_path_factory: pytest.TempPathFactory, collections_path: str) -> Iterator[World]:
    with spied(hunt), ExitStack() as stack:
        yield World(stack, hunt, tmp_path_factory.mktemp("world"), collections_path)


# --- the plays -----------------------------------------------------------------------------------------------------


class Play:
    """Tasks, all of whose results are shown at the end."""

    def __init__(self, world: World, directory: Path) -> None:
        self.world = world
        self.directory = directory
        self.tasks: list[dict[str, Any]] = []
        # As in a user's play: the secrets are in a file of variables.
        self.variables = {name.replace(" ", "_").replace("'", ""): secret for name, secret in SECRETS.items()}
        tenant = world.tenant
        self.known: dict[str, Any] = {
            "tenant_id": tenant.tenant_id,
            "client_id": tenant.client_id,
            "client_secret": "{{ client_secret }}",
            "api_url": tenant.url,
            "authority_url": tenant.url,
            "ca_path": tenant.ca_path,
            "config_dir": str(directory / "etc"),
        }

    def add(self, module: str, title: str, **options: Any) -> None:
        given = {name: value for name, value in {**self.known, **options}.items() if value is not None}
        if module == PULL:
            given = {"initial_lookback": "2d", "return_events": 3, "state_dir": str(self.directory / "lib"), **given}
        if module in (PULL, TEST):
            given["retries"] = 0
        task = {"name": title, module: given}
        if module == LOOKUP:
            given = {**given, "since": "1d", "limit": 3}
            arguments = ", ".join(f"{name}={self._argument(value)}" for name, value in given.items())
            task = {"name": title, "ansible.builtin.set_fact": {"alerts": f"{{{{ query('{LOOKUP}', {arguments}) }}}}"}}
        number = len(self.tasks)
        self.tasks.append({**task, "register": f"result_{number}", "ignore_errors": True})

    def _argument(self, value: Any) -> str:
        text = str(value)
        return text[2:-2].strip() if text.startswith("{{") else repr(value)

    def all(self, title: str, **options: Any) -> None:
        for module in (TEST, PULL, LOOKUP):
            self.add(module, f"{title}, {module.rpartition('_')[2]}", **options)

    def stored(self, title: str, **options: Any) -> dict[str, Any]:
        """Defines a credential; the options that name it."""
        secret = {"client_secret": None, "secret_storage": "file", **options}
        self.add(CREDENTIAL, f"define {title}", name=title, **secret)
        return {**dict.fromkeys(set(self.known) - {"config_dir"}), "credential": title}

    def run(self, env: dict[str, str], **keywords: Any) -> Leftovers:
        results = "{{ [" + ", ".join(task["register"] for task in self.tasks) + "] }}"
        self.tasks.append({"name": "show all", "ansible.builtin.debug": {"msg": results}})
        for name in ("tmp", "python/systemd", "junit"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        places = self.directory
        (places / "python" / "systemd" / "__init__.py").touch()
        (places / "python" / "systemd" / "journal.py").write_text(_JOURNAL)
        (places / "python" / "systemd" / "daemon.py").write_text("def booted():\n    return True\n")
        environment = {
            "PYTHONPATH": str(places / "python"),
            "FALSE_JOURNAL": str(places / "journal"),
            "TMPDIR": str(places / "tmp"),
            "ANSIBLE_LOG_PATH": str(places / "ansible.log"),
            "ANSIBLE_CALLBACKS_ENABLED": "task_results,ansible.builtin.junit,ansible.builtin.tree",
            "ANSIBLE_CALLBACK_TREE_DIR": str(places / "tree"),
            "JUNIT_OUTPUT_DIR": str(places / "junit"),
            # Since ansible-core 2.19: show the traceback of every error and warning.
            "ANSIBLE_DISPLAY_TRACEBACK": "always",
            # And since 2.21: the options in each result.
            "ANSIBLE_INJECT_INVOCATION": "1",
            **env,
        }
        run = PlaybookRunner(places / "ansible", self.world.collections_path)
        with Watch() as watch:
            result = run(self.tasks, environment, variables=self.variables, verbosity=4, diff=True, **keywords)
        return Leftovers(self, result, watch)


class Leftovers:
    """What a play has left, by channel."""

    def __init__(self, play: Play, result: Result, watch: Watch) -> None:
        self.play = play
        self.result = result
        self.watch = watch
        self.hunt = play.world.hunt

    def found(self) -> dict[str, list[str]]:
        """By channel, what was found there: nothing should be."""
        hunt, places = self.hunt, self.play.directory
        kept = places / "ansible" / "run1" / ".ansible"
        own = {word for word in self.watch.environment if word.partition("=")[0] in OWN_VARIABLES}
        found = {
            "stdout": hunt.in_text("it", self.result.stdout),
            "stderr": hunt.in_text("it", self.result.stderr),
            "results": [text for task in self.result.tasks for text in hunt.in_value(task.name, task.result)],
            "log file": hunt.in_files(places / "ansible.log"),
            "junit": hunt.in_files(places / "junit"),
            "tree": hunt.in_files(places / "tree"),
            "journal": hunt.in_files(places / "journal"),
            "state": hunt.in_files(places / "lib"),
            "definitions": hunt.in_files(places / "etc", but=(places / "etc" / "secrets").glob("*.secret")),
            "runtime directory": hunt.in_files(places / "ansible" / "runtime"),
            "temporary files": hunt.in_files(places / "tmp"),
            "Ansible's own files": hunt.in_files(kept, but=kept.rglob("AnsiballZ_*.py")),
            "arguments": hunt.in_text("them", "\n".join(self.watch.arguments)),
            "environment": hunt.in_text("it", "\n".join(self.watch.environment - own)),
        }
        return {channel: texts for channel, texts in found.items() if texts}

    def statuses(self) -> dict[str, str]:
        return {task.name: task.status for task in self.result.tasks}


def can_seal() -> bool:
    """Whether systemd-creds works on this host."""
    try:
        command = ["systemd-creds", "encrypt", "--with-key=host", "--name=x", "-", "-"]
        done = subprocess.run(command, input=b"x", capture_output=True, timeout=30, check=False)
    except OSError:
        return False
    return done.returncode == 0 and os.geteuid() == 0


# --- the runs ------------------------------------------------------------------------------------------------------


def _add_ways(play: Play) -> None:
    """All ways to give a secret, with all that asks Microsoft."""
    world = play.world
    pfx, pem = world.certificates()
    lines = {"Tenant ID": world.tenant.tenant_id, "Client ID": world.tenant.client_id, "Client secret": FILE_SECRET}
    details = "".join(f"{name}: {value}\n" for name, value in lines.items())
    nothing, password = {"client_secret": None}, {"client_certificate_password": "{{ certificate_password }}"}
    by_proxy = {"proxy": f"http://carl:{quote(PROXY_PASSWORD, safe='')}@{world.proxy.address}"}
    play.variables["proxy"] = by_proxy["proxy"]
    play.all("given")
    play.all("environment", **nothing)
    play.all("pfx", **nothing, client_certificate_path=pfx, **password)
    play.all("workload", **nothing, federated_token_file=world.tenant.federated_token_file)
    play.all("proxy", proxy="{{ proxy }}")
    play.all("stored", **play.stored("stored", client_secret="{{ stored_secret }}", proxy="{{ proxy }}"))
    play.add(PULL, "pem", **nothing, client_certificate_path=pem, **password)
    secret_file = world.file("app.secret", FILE_SECRET.encode())
    play.add(LOOKUP, "file", **play.stored("file", client_secret_file=secret_file))
    from_details = {"details_file": world.file("details.txt", details.encode()), "tenant_id": None, "client_id": None}
    play.add(PULL, "details", **play.stored("details", **from_details))
    play.add(PULL, "cyberark", **play.stored("cyberark", cyberark=world.tenant.ccp))
    certificate = {"client_certificate_path": pfx, **password}
    play.add(TEST, "stored certificate", **play.stored("certificate", **certificate))
    if can_seal():
        sealed = {"client_secret": "{{ stored_secret }}", "secret_storage": "systemd_creds"}
        play.add(PULL, "sealed", **play.stored("sealed", **sealed))
    nobody = dict.fromkeys(set(play.known) - {"config_dir"})
    play.add(INFO, "info", **nobody)
    play.add(PULL, "reconcile", reconcile="report")


def _add_failures(play: Play) -> None:
    world = play.world
    echo = {"echo": True, "body": "<p>{sent}"}
    refused = {"status": 400, "echo": True, "body": '{"error":"invalid","error_description":"{sent}"}'}
    tenants = {
        "echo by the API": world.mock({"match": {"leg": "api"}, "do": echo}),
        "echo by the login": world.mock({"match": {"leg": "token"}, "do": refused}),
        "half a page": world.mock({"match": {"leg": "api"}, "do": {"bad_json": True}}),
        "half a token": world.mock({"match": {"leg": "token"}, "do": {"bad_json": True}}),
        "no permission": world.mock(roles={"graph": []}),
    }
    for title, tenant in tenants.items():
        place = {"api_url": tenant.url, "authority_url": tenant.url, "ca_path": tenant.ca_path}
        place["tenant_id"] = tenant.tenant_id
        play.all(title, **place) if title.startswith("echo") else play.add(PULL, title, **place)
    play.add(TEST, "wrong secret", client_secret="{{ wrong_secret }}")
    play.add(PULL, "expired secret", client_secret="{{ wrong_secret }}")
    play.add(LOOKUP, "unknown tenant", tenant_id=NOBODY)
    play.add(TEST, "wrong password", client_secret=None, client_certificate_path=str(world.directory / "app.pfx"),
             client_certificate_password="{{ wrong_secret }}")  # fmt: skip
    play.add(PULL, "no such name", api_url="https://nowhere.invalid")
    play.add(TEST, "untrusted", ca_path=None)
    missing = [{"path": str(play.directory / "none" / "out.jsonl")}]
    play.add(PULL, "no destination", destinations=missing)
    for mode in ("login_page", "negotiate"):
        proxy = world.stack.enter_context(MockProxy("carl", PROXY_PASSWORD, mode=mode))
        # Ansible knows a password in an address with a scheme, or with a longer name.
        play.variables[mode] = f"c:{quote(PROXY_PASSWORD, safe='')}@{proxy.address}"
        play.add(PULL, f"proxy, {mode}", proxy=f"{{{{ {mode} }}}}")
    play.variables["address"] = f"https://:{quote(PROXY_PASSWORD, safe='')}@{world.proxy.address}"
    play.add(TEST, "password in an address", api_url="{{ address }}")
    play.add(LOOKUP, "password in an address, lookup", api_url="{{ address }}")


def test_run_shows_and_keeps_no_secret(world: World, tmp_path: Path) -> None:
    """Every way to give a secret, every module and the lookup, where all is well and where something fails."""
    play = Play(world, tmp_path)
    _add_ways(play)
    good = len(play.tasks)
    _add_failures(play)
    titles = [task["name"] for task in play.tasks]
    left = play.run({"WDATP_CLIENT_SECRET": ENVIRONMENT_SECRET})
    assert left.found() == {}
    # The run was what it was meant to be.
    statuses = left.statuses()
    assert [title for title in titles[:good] if statuses[title] not in ("ok", "changed")] == []
    assert [title for title in titles[good:] if statuses[title] != "ignored"] == []
    assert left.result.stdout.count("wdatp_pull_events") > 10
    assert "Invoked with" in (tmp_path / "journal").read_text()
    assert (tmp_path / "ansible.log").stat().st_size > 100_000
    assert list((tmp_path / "junit").iterdir())
    assert any("AnsiballZ" in text for text in left.watch.arguments)
    # Nothing of Ansible's or of ours is left where modules run.
    assert [path for path in (tmp_path / "tmp").rglob("*") if path.is_file()] == []
    remote = tmp_path / "ansible" / "run1" / ".ansible" / "remote_tmp"
    assert [path for path in remote.rglob("*") if path.is_file()] == []


def test_bug_of_a_library_shows_no_secret(world: World, tmp_path: Path) -> None:
    """In check mode, as YAML, with all that Ansible keeps for those who look for bugs."""
    play = Play(world, tmp_path)
    (tmp_path / "python").mkdir()
    (tmp_path / "python" / "msal.py").write_text(_BROKEN_MSAL)
    play.all("given")
    play.all("environment", client_secret=None)
    play.add(CREDENTIAL, "define", name="contoso")
    play.add(CREDENTIAL, "define it wrong", name="contoso", auth_method="certificate")
    titles = [task["name"] for task in play.tasks]
    env = {
        "WDATP_CLIENT_SECRET": ENVIRONMENT_SECRET,
        "HTTPS_PROXY": f"http://carl:{quote(PROXY_PASSWORD, safe='')}@127.0.0.1:1",
        "NO_PROXY": "127.0.0.1",
        "ANSIBLE_KEEP_REMOTE_FILES": "1",
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml",
    }
    left = play.run(env, check=True)
    assert left.found() == {}
    assert [left.statuses()[title] for title in titles] == ["ignored"] * 6 + ["changed", "ignored"]
    assert left.result.stdout.count("A bug in this collection: RuntimeError") >= 6
    # What Ansible itself keeps when told so holds the options of each task: see docs/identity.md.
    kept = list((tmp_path / "ansible" / "run1" / ".ansible" / "remote_tmp").rglob("AnsiballZ_*.py"))
    assert kept
    assert left.hunt.in_files(*kept)


def test_artifacts_of_ansible_runner_hold_no_secret(world: World, tmp_path: Path) -> None:
    import ansible_runner

    options = {name: value for name, value in Play(world, tmp_path).known.items() if name != "client_secret"}
    task = {"name": "Pull", PULL: {**options, "state_dir": str(tmp_path / "lib")}}
    play = [{"hosts": "localhost", "gather_facts": False, "connection": "local", "tasks": [task]}]
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "play.json").write_text(json.dumps(play))
    env = {"WDATP_CLIENT_SECRET": ENVIRONMENT_SECRET, "ANSIBLE_COLLECTIONS_PATH": world.collections_path}
    env["ANSIBLE_PYTHON_INTERPRETER"] = sys.executable
    run = ansible_runner.run(private_data_dir=str(tmp_path), playbook="play.json", envvars=env, verbosity=4, quiet=True)
    assert run.status == "successful"
    # The command file is the runner's own note of the environment that it was given.
    but = [*tmp_path.rglob("command"), *(tmp_path / "env").rglob("*")]
    assert world.hunt.in_files(tmp_path, but=but) == []
