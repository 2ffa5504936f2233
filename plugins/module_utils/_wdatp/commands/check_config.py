# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`wdatp check-config`: whatever a job needs on this host, looked at without the network and without a trace."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Any, NamedTuple

from ..console import Console
from ..credentials import CredentialStore
from ..destinations.registry import destinations_of
from ..errors import WdatpError
from ..jobdefinitions import check_job
from ..jobs import Job, JobStore
from ..store import Store
from ..version import LIBRARIES


class Check(NamedTuple):
    """What was looked at, and what is wrong with it and how to mend it; nothing where it is fine."""

    what: str
    problem: str = ""
    remedy: str = ""


def check_config(options: Mapping[str, Any], console: Console) -> int:
    """0, or 1 where something is wrong."""
    checks = list(_checks(options))
    wrong = [item for item in checks if item.problem]
    lines = [f"{'FAILED' if item.problem else 'ok':6}  {_in_words(item)}" for item in checks]
    summary = f"{len(wrong)} of {len(checks)} are wrong." if wrong else f"All {len(checks)} are fine."
    result = {"valid": not wrong, "checks": [item._asdict() for item in checks]}
    console.result(result, console.redactor.text("\n".join([*lines, summary])))
    return 1 if wrong else 0


def _in_words(item: Check) -> str:
    return f"{item.what}: {item.problem}\n        {item.remedy}" if item.problem else item.what


def _checks(options: Mapping[str, Any]) -> Iterator[Check]:
    config_dir, state_dir = options["config_dir"], options["state_dir"]
    for library, least in LIBRARIES.items():
        yield _library(library, least)
    yield from _secrets(config_dir)
    yield from _credentials(config_dir)
    for name in [options["job"]] if options["job"] else _names(config_dir):
        yield from _job(name, config_dir, state_dir)


def _library(name: str, least: str) -> Check:
    remedy = f"Install {name} {least} or later for {sys.executable}."
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Check(f"library {name}", "it is missing", remedy)
    if _numbers(version) < _numbers(least):
        return Check(f"library {name} {version}", "it is too old", remedy)
    return Check(f"library {name} {version}")


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")[:2] if part.isdigit()]


def _secrets(config_dir: str) -> Iterator[Check]:
    path = os.path.join(config_dir, "secrets")
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)
    except OSError:
        # Nobody has given one, or this account may not look, which is as it should be.
        return
    is_open = mode & 0o077
    problem = f"others may look into it (mode {mode:04o})" if is_open else ""
    yield Check(f"directory {path}", problem, f"chmod 0700 {path}" if is_open else "")


def _credentials(config_dir: str) -> Iterator[Check]:
    store = CredentialStore(config_dir)
    try:
        names = store.names()
    except WdatpError as error:
        yield Check(f"credentials in {config_dir}", error.message, error.remedy)
        return
    for name in names:
        yield _tried(f"credential {name}", lambda name=name: store.load(name))


def _names(config_dir: str) -> list[str]:
    return JobStore(config_dir).names()


def _tried(what: str, deed: Any) -> Check:
    try:
        deed()
    except WdatpError as error:
        return Check(what, error.message, error.remedy)
    return Check(what)


def _job(name: str, config_dir: str, state_dir: str) -> Iterator[Check]:
    try:
        job = JobStore(config_dir).load(name)
        check_job(job, config_dir, state_dir)
    except WdatpError as error:
        yield Check(f"job {name}", error.message, error.remedy)
        return
    yield Check(f"job {name}")
    yield _tried(f"job {name}: its store", lambda: _read(job, state_dir))
    for item in destinations_of(job["destinations"], state_dir):
        yield _directory(f"job {name}: {item.target}", os.path.dirname(item.target))
    if job["metrics_path"]:
        yield _directory(f"job {name}: {job['metrics_path']}", os.path.dirname(job["metrics_path"]))


def _read(job: Job, state_dir: str) -> None:
    with Store(job.state_dir(state_dir), read_only=True, files_below=state_dir):
        pass


def _directory(what: str, path: str) -> Check:
    remedy = f"Create {path}, owned by the account that the job runs as."
    if not os.path.isdir(path):
        return Check(what, f"the directory {path} does not exist", remedy)
    is_good = os.access(path, os.W_OK | os.X_OK)
    return Check(what) if is_good else Check(what, f"{path} can't be written to by this account", remedy)
