# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gates: what each one runs, and what it depends on."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from ansible_test import sanity
from collection import build_and_install_collection, build_collection, sync_tree
from common import LOCAL, REQUIREMENTS, ROOT, Result, ToolError, ensure_venv, private_env, run, run_live
from host_trees import RELEASES, ensure_tree, ensure_wheels, why_not
from pythons import find_python, own_python

# The newest ansible-core's Pythons first; ansible-core 2.16 runs on no newer one than 3.12.
_NEWEST = ("3.14", "3.13", "3.12", "3.11")
_FOR_2_16 = ("3.12", "3.11", "3.10")
# A test that hangs fails, and shows where.
_PATIENCE = "--timeout=300"


class Skipped(Exception):
    """The gate cannot run on this machine; the text says what it needs."""


@dataclass(frozen=True)
class Report:
    result: Result
    passed: int
    failed: int
    skipped: int = 0
    # What a reader of the summary should know, also where all is well.
    note: str = ""


@dataclass(frozen=True)
class Options:
    """What the command line said: arguments for pytest, and whether the one gate may have the terminal."""

    pytest_args: tuple[str, ...] = ()
    live: bool = False


@dataclass(frozen=True)
class Gate:
    name: str
    about: str
    check: Callable[[Options], Report]
    fast: bool = False
    # Looks at nothing but the checkout's files: need not run again before one of them changes.
    pure: bool = False


# --- pytest -----------------------------------------------------------------------------------------------------------


def _unit(options: Options) -> Report:
    return _pytest("unit", _test_venv(), "tests/unit", options, *_spread(options))


def _unit_oldest(options: Options) -> Report:
    python = find_python(["3.9"])
    if not python:
        raise Skipped("needs Python 3.9")
    venv = ensure_venv("unit-3.9", REQUIREMENTS / "unit-3.9.txt", python)
    return _pytest("unit-3.9", venv, "tests/unit/plugins", options, *_spread(options))


def _integration(options: Options) -> Report:
    return _on_core("integration", _newest_venv(), options)


def _integration_2_16(options: Options) -> Report:
    return _on_core("integration-2.16", _2_16_venv(), options)


def _on_core(name: str, venv: Path, options: Options) -> Report:
    """Against the installed tarball, not the checkout: a file that is missing there would be missed by users too."""
    collections = LOCAL / "collections" / venv.name
    build_and_install_collection(venv, collections)
    more = {"ANSIBLE_COLLECTIONS_PATH": collections, "ANSIBLE_HOME": LOCAL / "home" / ".ansible"}
    # Most files play one long playbook for all their tests: in one process, it is played once.
    return _pytest(name, venv, "tests/integration", options, *_spread(options, "--dist=loadfile"), **more)


def _collectors(options: Options) -> Report:
    """The role on booted hosts of one release, or of those that WDATP_TEST_RELEASES names ("all", or with commas)."""
    wanted = os.environ.get("WDATP_TEST_RELEASES", RELEASES[0])
    releases = RELEASES if wanted == "all" else tuple(wanted.split(","))
    return _on_hosts("collectors", _newest_venv, "tests/collectors", releases, options)


def _collectors_2_16(options: Options) -> Report:
    """Whether the oldest ansible-core can play the role: what comes after that is the host's business."""
    return _on_hosts("collectors-2.16", _2_16_venv, "tests/collectors/test_deployment.py", RELEASES[:1], options)


def _on_hosts(name: str, core: Callable[[], Path], tests: str, releases: Sequence[str], options: Options) -> Report:
    if lack := why_not():
        raise Skipped(lack)
    venv = core()
    collections = LOCAL / "collections" / venv.name
    build_and_install_collection(venv, collections)
    hosts = ":".join(f"{each}={ensure_tree(each)}={ensure_wheels(each, venv)}" for each in releases)
    more = {"ANSIBLE_COLLECTIONS_PATH": str(collections), "WDATP_TEST_HOSTS": hosts}
    return _pytest(name, venv, tests, options, *_spread(options, "--dist=loadscope"), **more)


def _spread(options: Options, *more: str) -> list[str]:
    """Two processes for a whole run; one for a chosen test, which starts sooner and can be debugged."""
    return [] if options.pytest_args else ["--numprocesses=2", *more]


def _pytest(name: str, venv: Path, folder: str, options: Options, *args: str, **more: str | Path) -> Report:
    # The process's number: another run in this checkout must not change the figures of this one.
    results = LOCAL / "results" / f"{name}-{os.getpid()}.xml"
    named = any((ROOT / arg.partition("::")[0]).exists() for arg in options.pytest_args if not arg.startswith("-"))
    command = [str(venv / "bin" / "pytest"), f"--junit-xml={results}", _PATIENCE, *args, *options.pytest_args]
    command += [] if named else [folder]
    env = private_env(venv, **more)
    result = Result(run_live(command, env), "") if options.live else run(command, env)
    passed, failed, skipped = _count(results)
    note = _stateful_note(results)
    results.unlink(missing_ok=True)
    return Report(result, passed, failed if result.ok else max(failed, 1), skipped, note)


def _count(results: Path) -> tuple[int, int, int]:
    """How many tests passed, failed and were skipped; none where pytest did not get that far."""
    if not results.is_file():
        return 0, 0, 0
    suites = list(ElementTree.parse(results).getroot().iter("testsuite"))  # noqa: S314 (pytest's own file)
    tests, failures, errors, skipped = (
        sum(int(suite.get(figure, 0)) for suite in suites) for figure in ("tests", "failures", "errors", "skipped")
    )
    return tests - failures - errors - skipped, failures + errors, skipped


def _stateful_note(results: Path) -> str:
    """How many steps the stateful test made, and from which seed: what it takes to make them again."""
    if not results.is_file():
        return ""
    properties = list(ElementTree.parse(results).getroot().iter("property"))  # noqa: S314 (pytest's own file)
    steps = sum(int(item.get("value", 0)) for item in properties if item.get("name") == "stateful_steps")
    seeds = {item.get("value", "") for item in properties if item.get("name") == "stateful_seed"}
    return f"{steps} stateful steps, WDATP_TEST_SEED={seeds.pop()}" if seeds else ""


# --- the others -------------------------------------------------------------------------------------------------------


def _single(result: Result) -> Report:
    return Report(result, int(result.ok), int(not result.ok))


def _commands(venv: Path, cwd: Path, *commands: str, **more: str | Path) -> Report:
    """Programs of one environment, one after the other, all of them; a gate that passes when each does."""
    results = [
        run([venv / "bin" / program, *args], private_env(venv, **more), cwd)
        for program, *args in (command.split() for command in commands)
    ]
    return _single(Result(max(abs(result.code) for result in results), "".join(result.output for result in results)))


def _style(options: Options) -> Report:
    check, layout = "ruff check --output-format=concise .", "ruff format --check --diff ."
    return _commands(_test_venv(), sync_tree("style"), check, layout)


def _types(options: Options) -> Report:
    return _commands(_test_venv(), sync_tree("types"), "mypy", "mypy --config-file= --strict tools")


def _bugs(options: Options) -> Report:
    venv = _test_venv()
    result = run([venv / "bin" / "python", "tests/planted_bugs.py"], private_env(venv))
    counted = re.search(r"^(\d+) of (\d+) bugs were caught$", result.output, re.MULTILINE)
    caught, planted = (int(counted[1]), int(counted[2])) if counted else (0, 0)
    return Report(result, caught, planted - caught if result.ok else max(planted - caught, 1))


def _ansible_lint(options: Options) -> Report:
    """Playbooks name the collection's own modules, so it has to lie where Ansible looks."""
    tree = sync_tree("lint")
    command = "ansible-lint --offline --strict --nocolor --config-file .ansible-lint"
    return _commands(_lint_venv(), tree, command, ANSIBLE_COLLECTIONS_PATH=tree.parents[2])


def _docs(options: Options) -> Report:
    return _commands(
        _lint_venv(),
        sync_tree("docs"),
        "antsibull-docs lint-collection-docs --plugin-docs --skip-rstcheck --validate-collection-refs=all"
        " --disallow-unknown-collection-refs .",
    )


def _galaxy(options: Options) -> Report:
    """What Galaxy and Automation Hub would say on upload. Their importer only logs its complaints."""
    venv = _lint_venv()
    tarball = build_collection(venv)
    result = run(
        [venv / "bin" / "python", "-m", "galaxy_importer.main", tarball],
        private_env(venv, GALAXY_IMPORTER_CONFIG=REQUIREMENTS.parent / "galaxy-importer.cfg"),
        tarball.parent,
    )
    complaints = re.findall(r"^(?:ERROR|WARNING|CRITICAL).*", result.output, re.MULTILINE)
    return _single(Result(1, result.output) if complaints else result)


def _ee(options: Options) -> Report:
    """What ansible-builder would install for an execution environment with this collection."""
    tree = sync_tree("ee")
    venv = _lint_venv()
    result = run([venv / "bin" / "ansible-builder", "introspect", "--sanitize", tree.parents[2]], private_env(venv))
    lacking = [name for name in ("requests", "msal") if not re.search(rf"^- '{name}", result.output, re.MULTILINE)]
    return _single(Result(1, f"{', '.join(lacking)} would be missing.\n{result.output}") if lacking else result)


def _licenses(options: Options) -> Report:
    return _commands(_lint_venv(), sync_tree("licenses"), "reuse lint --lines")


def _sanity_newest(options: Options) -> Report:
    return _single(sanity(_newest_venv()))


def _sanity_2_16(options: Options) -> Report:
    return _single(sanity(_2_16_venv()))


# --- what they run in -------------------------------------------------------------------------------------------------


def _test_venv() -> Path:
    return ensure_venv("test", REQUIREMENTS / "test.txt", own_python())


def _lint_venv() -> Path:
    return ensure_venv("lint", REQUIREMENTS / "lint.txt", find_python(_NEWEST) or own_python())


def _newest_venv() -> Path:
    return ensure_venv("core-newest", REQUIREMENTS / "core-newest.txt", find_python(_NEWEST) or own_python())


def _2_16_venv() -> Path:
    python = find_python(_FOR_2_16)
    if not python:
        raise Skipped("ansible-core 2.16 needs Python 3.10, 3.11 or 3.12")
    return ensure_venv("core-2.16", REQUIREMENTS / "core-2.16.txt", python)


# The longest first: two run at a time, and so they end at about the same time.
GATES = [
    Gate("collectors", "the role pull_job on hosts that are really booted, against the mock tenant", _collectors),
    Gate("integration", "real ansible-playbook runs against the mock tenant, on the newest ansible-core", _integration),
    Gate("integration-2.16", "the same on the oldest supported ansible-core", _integration_2_16),
    Gate("collectors-2.16", "its deployment by the oldest supported ansible-core", _collectors_2_16),
    Gate("sanity-2.16", "ansible-test sanity on the oldest supported ansible-core", _sanity_2_16, pure=True),
    Gate("sanity-newest", "ansible-test sanity on the newest ansible-core", _sanity_newest, pure=True),
    Gate("unit", "unit tests", _unit, fast=True),
    Gate("bugs", "bugs that are planted, each to be caught by a test of its own", _bugs),
    Gate("unit-3.9", "unit tests of the plugins on the oldest supported Python", _unit_oldest),
    Gate("lint", "ansible-lint, production profile", _ansible_lint, pure=True),
    Gate("galaxy", "what Galaxy says to the tarball", _galaxy, pure=True),
    Gate("docs", "plugin and role documentation", _docs, pure=True),
    Gate("ee", "what an execution environment gets of the collection", _ee, pure=True),
    Gate("types", "mypy strict", _types, fast=True, pure=True),
    Gate("style", "ruff: rules and format", _style, fast=True, pure=True),
    Gate("licenses", "REUSE: every file says its licence", _licenses, fast=True, pure=True),
]


def choose(names: Sequence[str], fast: bool) -> list[Gate]:
    """The gates of these names; a name also stands for its variants (`sanity`)."""
    for name in names:
        if not any(_is(gate, name) for gate in GATES):
            raise ToolError(f"There is no gate {name!r}. There are: {', '.join(gate.name for gate in GATES)}.")
    return [gate for gate in GATES if (not names or any(_is(gate, name) for name in names)) and (gate.fast or not fast)]


def _is(gate: Gate, name: str) -> bool:
    return gate.name == name or (name == "sanity" and gate.name.startswith("sanity-"))
