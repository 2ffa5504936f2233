# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pull jobs: what a collector pulls on its own, under `config_dir`, one file each.

<config_dir>/jobs/<name>.json    the definition (0640); it holds no secret, only names of credentials
<state_dir>/jobs/<name>/         its cursors, ledger and outbox: jobs never wait for each other
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import JobError, OptionError
from .namedfiles import NAME_RULE, Errors, NamedFiles, is_name
from .options import CONFIG_DIR, JOB, STATE_DIR, WINDOW, Option

# The version of the definition's form; a definition with a higher one is from a newer collection.
SCHEMA = 1
# What a definition holds.
SETTINGS = tuple(option for option in JOB if option.name not in ("name", "state", CONFIG_DIR.name, STATE_DIR.name))
# What may be said of a single run of a job.
_OF_A_RUN = ("job", CONFIG_DIR.name, STATE_DIR.name, *(option.name for option in WINDOW))
_TYPES: dict[str, type] = {"str": str, "path": str, "int": int, "bool": bool, "list": list}


@dataclass(frozen=True)
class Job:
    """A definition. `settings`: values by option name, defaults left out."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        """An option's value, or its default."""
        return self.settings.get(name, _DEFAULTS[name])

    def describe(self) -> dict[str, Any]:
        """The form in which results show a job: every option."""
        return {"name": self.name, **{option.name: self[option.name] for option in SETTINGS}}

    def options(self) -> dict[str, Any]:
        """What a pull takes."""
        return {option.name: self[option.name] for option in SETTINGS}

    def state_dir(self, state_dir: str) -> str:
        """Where this job's store is, below a collector's state directory."""
        return os.path.join(state_dir, "jobs", self.name)


_DEFAULTS = {option.name: option.default for option in SETTINGS}


def job_of(name: str, options: Mapping[str, Any]) -> Job:
    """A job from options; what is not given, or is the default, is no part of it."""
    given = {option.name: _plain(option, options.get(option.name)) for option in SETTINGS}
    kept = {key: value for key, value in given.items() if value not in (None, [], _DEFAULTS[key])}
    return Job(check_job_name(name), kept)


def _plain(option: Option, value: Any) -> Any:
    """Of dictionaries, only what is given."""
    if option.options and isinstance(value, list):
        return [{key: item[key] for key in sorted(item) if item[key] is not None} for item in value]
    return value


def check_job_name(text: str) -> str:
    """A job's name becomes a file's, a directory's and a unit's name. OptionError where it can't."""
    if not is_name(text):
        raise OptionError(
            f"job: {text!r} can't be a job's name.",
            NAME_RULE,
        )
    return text


class JobStore:
    """The jobs under one `config_dir`. Nothing is made there before the first save."""

    def __init__(self, config_dir: str) -> None:
        self._files = NamedFiles(config_dir, "jobs", SCHEMA, _ERRORS)
        self.config_dir = self._files.config_dir

    def path(self, name: str) -> str:
        return self._files.path(name)

    def load(self, name: str) -> Job:
        """JobError where there is none of this name; it lists those that are there."""
        found = self.get(check_job_name(name))
        if found is not None:
            return found
        names = self.names()
        raise JobError(
            f"There is no job {name!r} under {self.config_dir}"
            + (f"; there are {', '.join(names)}." if names else ": none is defined."),
            "Name one of them, or define it with the module secops.defender.wdatp_pull_job or the role pull_job."
            " config_dir says where jobs are.",
            code="job.unknown",
        )

    def get(self, name: str) -> Job | None:
        values = self._files.read(name)
        return None if values is None else _parse(name, values, self.path(name))

    def names(self) -> list[str]:
        return self._files.names()

    def all(self) -> list[Job]:
        loaded = (self.get(name) for name in self.names())
        return [job for job in loaded if job is not None]

    def save(self, job: Job) -> None:
        with self._files.writing():
            self._files.make()
            self._files.write(job.name, SCHEMA, job.settings)

    def remove(self, name: str) -> None:
        with self._files.writing():
            self._files.remove(name)

    def has_traces(self, name: str) -> bool:
        """Whether anything, also something broken, is stored under this name."""
        return self._files.has(name)


def jobs_naming(credential: str, config_dir: str) -> list[str]:
    """The jobs that name this credential; those that pull for all are none of them. JobError."""
    return [job.name for job in JobStore(config_dir).all() if credential in (job["credentials"] or [])]


def options_of_run(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a pull: where they name a job, those of its definition. JobError, OptionError.

    With a job, what else is given has to concern this run alone: of two truths nobody would know which one counted.
    """
    name = options.get("job")
    if not name:
        return dict(options)
    job = JobStore(options["config_dir"]).load(name)
    extra = [key for key in options if key not in _OF_A_RUN and options[key] not in (None, [], _DEFAULTS.get(key))]
    if extra:
        raise OptionError(
            f"job is given together with {', '.join(sorted(extra))}.",
            "The job's definition says that: change it with wdatp_pull_job, or leave job out.",
            code="option.conflict",
        )
    own = {key: options.get(key) for key in _OF_A_RUN}
    return {**job.options(), **own}


# --- the definition's form ------------------------------------------------------------------------------------------


def _parse(name: str, values: Mapping[str, Any], path: str) -> Job:
    known = {option.name: option for option in SETTINGS}
    for key, value in values.items():
        if key not in known:
            raise _broken(path, f"nobody knows its {key}")
        if not _is_of(known[key], value):
            raise _broken(path, f"its {key} is of the wrong type")
    return Job(name, values)


def _is_of(option: Option, value: Any) -> bool:
    if isinstance(value, list):
        return option.type == "list" and all(_is_item_of(option, item) for item in value)
    if not isinstance(value, _TYPES[option.type]) or (option.type == "int" and isinstance(value, bool)):
        return False
    return not option.choices or value in option.choices


def _is_item_of(option: Option, item: Any) -> bool:
    if option.options:
        return isinstance(item, dict)
    return isinstance(item, str) and (not option.choices or item in option.choices)


def _broken(path: str, why: str) -> JobError:
    return JobError(
        f"The job {path} is broken: {why}.",
        "Define it again with the module secops.defender.wdatp_pull_job, or remove the file.",
        code="job.broken",
    )


def _denied(path: str, error: OSError, doing: str) -> JobError:
    return JobError(
        f"The jobs {path} can't be {doing}: {error.strerror}.",
        "Run this as a user who may (become: true for /etc/wdatp), or set config_dir to a directory of your own.",
        code="job.denied",
    )


def _newer(path: str, form: int, known: int) -> JobError:
    return JobError(
        f"The job {path} was written by a newer version of this collection (form {form}, here {known}).",
        "Use that version on this host too, or define the job again.",
        code="job.newer",
    )


_ERRORS = Errors(_denied, _broken, _newer)
