# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be typed after `wdatp`: commands, options, and the help that teaches them.

An option that modules have too is taken from options.py: its default, its type, its choices and its variable are there.
"""

from __future__ import annotations

import argparse
import os
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from .errors import OptionError
from .options import CONFIG_DIR, REPORT, STATE_DIR, Option
from .verdict import LATE, TOO_LATE
from .version import VERSION

_REPORT = {option.name: option for option in REPORT}
_JOB = Option("job")


@dataclass(frozen=True)
class Typed:
    """An option as it is typed. `option`: its name, type, default, choices, variable. `short`: one letter."""

    option: Option
    about: str
    metavar: str = ""
    short: str = ""


@dataclass(frozen=True)
class Command:
    """`about` and `more`: above and below the options in its help. `file`: it takes a file's path."""

    name: str
    summary: str
    about: str
    more: str
    options: tuple[Typed, ...] = ()
    file: str = ""


_DIRECTORIES = (
    Typed(CONFIG_DIR, "where credentials and jobs are defined", "DIR"),
    Typed(STATE_DIR, "where cursors, ledgers and outboxes are", "DIR"),
)
_ONE_JOB = Typed(_JOB, "the job; default: the one named default, else the only one there is", "NAME")
_JOBS = Typed(_JOB, "this job alone; default: all jobs", "NAME")
_JSON = Typed(Option("json", type="bool"), "print one JSON document, in case of an error too")
_QUIET = Typed(Option("quiet", type="bool"), "say nothing but warnings and errors", short="q")
_TENANT = Typed(Option("tenant"), "the tenant's ID, or its organization's name", "WHO")


def _limit(intervals: int, seconds: int) -> str:
    return f"{intervals} intervals, at least {seconds // 60}m"


COMMANDS = (
    Command(
        "pull",
        "fetch what is new and write it to the job's destinations",
        """
        Runs a job once, as its timer does: fetches the alerts that are new or have changed since the last run, for each
        of its tenants, and writes each of them once to each destination.

        It may be stopped at any time, also by the power. The next run goes on from where this one was; nothing is lost
        and nothing is written twice. A tenant that fails holds up no other.
        """,
        """
        On a terminal it shows how far it is, and asks tenants at once that failed before. Elsewhere it says one line
        for the run and one for each tenant or destination in error; tenants that fail are asked less and less often,
        and a job that is disabled is left alone.
        """,
        (_ONE_JOB, _QUIET, _JSON),
    ),
    Command(
        "test",
        "test the way to Microsoft for each tenant, stage by stage",
        """
        Tests name resolution, connection, TLS, clock, token, permissions and a query, for each tenant and API of a job.
        Says where the way ends and what to change there. Changes nothing, here or at Microsoft.
        """,
        """
        examples:
          wdatp test                                  the only job, or the one named default
          wdatp test --organization Contoso           one of its customers
          wdatp test --credential contoso             a stored credential, before there is a job
        """,
        (
            _ONE_JOB,
            Typed(Option("credential"), "test this stored credential instead of a job", "NAME"),
            Typed(
                Option("organization", type="list"), "only this customer; more than one: again, or with commas", "NAME"
            ),
            _JSON,
        ),
    ),
    Command(
        "status",
        "say how the jobs are, for people and for monitoring systems",
        """
        Says whether each job runs, how far each tenant is behind, what fails and since when, what waits for a
        destination, and which certificates end soon. Reads only the state on this host and asks nobody.
        """,
        """
        exit codes, those of a monitoring plugin (Nagios, Icinga, Zabbix):
          0 fine    1 warning    2 critical    3 unknown, also where this command was typed wrongly

        examples:
          wdatp status
          wdatp status --warning 1h --critical 6h
          wdatp status --json | jq '.jobs[].streams[] | select(.last_error)'
          wdatp status --prometheus /var/lib/node_exporter/wdatp.prom
        """,
        (
            _JOBS,
            Typed(
                Option("warning"),
                f"a warning from so far behind on, such as 30m; default: {_limit(*LATE)}",
                "TIME",
                "w",
            ),
            Typed(
                Option("critical"),
                f"critical from so far behind on; default: {_limit(*TOO_LATE)}",
                "TIME",
                "c",
            ),
            Typed(
                Option("prometheus", type="path"),
                "also write it to this file, for the textfile collector of Prometheus' node exporter",
                "FILE",
            ),
            _JSON,
        ),
    ),
    Command(
        "report",
        "show the events that this host received",
        """
        Shows the newest events: of the last 15 minutes, or of any window. It asks the jobs' own stores; --source api
        asks Microsoft instead. Nothing is written but the file that --html names.
        """,
        """
        examples:
          wdatp report
          wdatp report --since 24h --severity high,medium
          wdatp report --since 2026-11-24T08:00:00Z --until 2026-11-24T10:00:00Z --json
          wdatp report --since 7d --html /tmp/week.html
        """,
        (
            _JOBS,
            Typed(_REPORT["since"], "from when on: a time, or how far back from now, such as 4h", "TIME"),
            Typed(_REPORT["until"], "up to when; default: now", "TIME"),
            Typed(_REPORT["source"], "what this host received, or what the API has"),
            Typed(_REPORT["severity"], "only these; more than one: again, or with commas", "NAME"),
            Typed(_REPORT["status"], "only these", "NAME"),
            Typed(_REPORT["organization"], "only these customers", "NAME"),
            Typed(_REPORT["limit"], "show so many at most, the newest", "N"),
            Typed(Option("html", type="path"), "write one self-contained page to this file", "FILE"),
            _JSON,
        ),
    ),
    Command(
        "backfill",
        "fetch a window once more, and write what is missing",
        """
        Fetches all alerts between --since and --until, whatever the cursor says. Events that are known are counted as
        such and not written again, so it does no harm to ask for too much. The cursor never moves back.
        """,
        """
        examples:
          wdatp backfill --since 30d
          wdatp backfill --since 2026-11-01T00:00:00Z --until 2026-11-02T00:00:00Z
        """,
        (
            _ONE_JOB,
            Typed(Option("since", required=True), "from when on: a time, or how far back from now", "TIME"),
            Typed(Option("until"), "up to when; default: now", "TIME"),
            _QUIET,
            _JSON,
        ),
    ),
    Command(
        "check-config",
        "check jobs, credentials, directories and libraries, without the network",
        """
        Looks at everything that a job needs on this host, changes nothing and asks nobody: the Python libraries, the
        directories and their rights, each credential, each job, its destinations and its store.
        """,
        """
        Run it as the account that the jobs run as: what root may write says nothing.
        """,
        (_JOBS, _JSON),
    ),
    Command(
        "export",
        "take a tenant's cursors and ledger to another collector",
        """
        Writes the cursors and the ledger of a tenant into a file, from which another collector goes on without a gap
        and without doubles. From then on, this collector does not pull the tenant any more.
        """,
        """
        examples:
          wdatp export --tenant Contoso contoso.jsonl
          wdatp export --leaving /tmp/moving     all that belong to other collectors by now, a file for each
        """,
        (
            _ONE_JOB,
            _TENANT,
            Typed(
                Option("leaving", type="path"), "all tenants that are another collector's share, into this one", "DIR"
            ),
            _JSON,
        ),
        "the file to write; it must not exist yet",
    ),
    Command(
        "import",
        "go on with a tenant that another collector has exported",
        """
        Reads a file that `wdatp export` has written, and goes on from there. Once more does no harm. Without a file it
        takes back a tenant that has left this collector, from where it was: what came in the meantime comes again.
        """,
        """
        examples:
          wdatp import contoso.jsonl
          wdatp import --tenant Contoso          where the other collector is lost, and its file too
        """,
        (_ONE_JOB, _TENANT, _JSON),
        "the file to read",
    ),
)

_ABOUT = """
Pulls Microsoft Defender alerts on this host, for a SIEM. What is pulled, and where it goes, is defined by jobs: the
module secops.defender.wdatp_pull_job or the role secops.defender.pull_job writes them.
"""
_MORE = f"""
exit codes:
  0 done    1 failed, perhaps only in part    2 wrong usage    `status` has its own
  128 and a signal's number: stopped by it. Nothing is lost then.

files:
  {CONFIG_DIR.default}          credentials and jobs ({CONFIG_DIR.env})
  {STATE_DIR.default}      cursors, ledgers, outboxes ({STATE_DIR.env})

environment:
  {CONFIG_DIR.env}, {STATE_DIR.env}    in place of the two options
  WDATP_RUNTIME_DIR    where runs on this host agree about their pace; default: /run/wdatp where that can be used
  WDATP_DEBUG          set to anything: a bug shows its traceback

`wdatp COMMAND --help` shows a command's options and examples.
"""


class Parser(argparse.ArgumentParser):
    """Raises an OptionError where a command was typed wrongly."""

    def error(self, message: str) -> NoReturn:
        raise OptionError(f"{message[:1].upper()}{message[1:]}.", f"{self.prog} --help shows what can be typed.")


def parser() -> Parser:
    """The parser of the whole command line."""
    found = Parser("wdatp", description=_ABOUT, epilog=_MORE, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--version", action="version", version=f"wdatp {VERSION}")
    for typed in _DIRECTORIES:
        _add(found, typed)
    commands = found.add_subparsers(dest="command", metavar="COMMAND", required=True, title="commands")
    for command in COMMANDS:
        _add_command(commands, command)
    return found


def _add_command(commands: Any, command: Command) -> None:
    found = commands.add_parser(
        command.name,
        help=command.summary,
        description=textwrap.dedent(command.about).strip(),
        epilog=textwrap.dedent(command.more).strip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if command.file:
        found.add_argument("file", nargs="?", metavar="FILE", help=command.file)
    for typed in command.options:
        _add(found, typed)
    for typed in _DIRECTORIES:
        # Where it is not given here, what stands before the command counts.
        _add(found, typed, default=argparse.SUPPRESS)


def _add(parser_: argparse.ArgumentParser, typed: Typed, **keywords: Any) -> None:
    option = typed.option
    names = [f"-{typed.short}"] * bool(typed.short) + [f"--{option.name.replace('_', '-')}"]
    known: dict[str, Any] = {"help": _help(typed)}
    if option.type == "bool":
        known["action"] = "store_true"
    else:
        known.update(metavar=typed.metavar or None, default=os.environ.get(option.env) or option.default)
        known.update(required=option.required, choices=option.choices or None)
    if option.type == "int":
        known["type"] = int
    if option.type == "list":
        known.update(action=_Names, default=None)
    parser_.add_argument(*names, **{**known, **keywords})


def _help(typed: Typed) -> str:
    default = f" (default: {typed.option.default})" if typed.option.default is not None else ""
    return typed.about + default


class _Names(argparse.Action):
    """`--severity high,medium --severity low` are three."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        known = getattr(namespace, self.dest) or []
        names = [name.strip() for name in str(values).split(",")]
        setattr(namespace, self.dest, [*known, *(name for name in names if name)])
