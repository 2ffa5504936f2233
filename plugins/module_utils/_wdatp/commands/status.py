# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`wdatp status`: how the jobs are, in the form of a monitoring plugin."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ..console import Console
from ..errors import OptionError
from ..files import put_in_place
from ..metrics import prometheus
from ..status import job_infos
from ..times import SECOND, parse_duration
from ..verdict import LEVELS, OK, Finding, Limits, verdict

# Of a summary's first line (Monitoring Plugins Development Guidelines, "Plugin Output for Nagios").
_LONGEST = 200


def show_status(options: Mapping[str, Any], console: Console) -> int:
    """The exit code of a monitoring plugin. WdatpError where the jobs can't be read."""
    limits = Limits(_seconds(options, "warning"), _seconds(options, "critical"))
    infos = job_infos(options["config_dir"], options["state_dir"], options["job"])
    if options["prometheus"]:
        _write_metrics(options["prometheus"], infos)
    code, findings = verdict(infos, limits)
    # One that is fine has said all in the summary.
    details = findings if len(findings) > 1 or code != OK else []
    text = "\n".join([_summary(code, findings, infos), *map(_detail, details)])
    console.result({"jobs": infos}, console.redactor.text(text))
    return code


def _seconds(options: Mapping[str, Any], name: str) -> int | None:
    """As monitoring systems write it: a number alone means seconds."""
    text = options[name]
    if text is None:
        return None
    return int(text) if text.isdecimal() else parse_duration(text, name) // SECOND


def _write_metrics(path: str, infos: list[dict[str, Any]]) -> None:
    try:
        put_in_place(os.path.abspath(path), prometheus(infos), 0o644)
    except OSError as error:
        raise OptionError(
            f"prometheus: {path} can't be written: {error.strerror}.",
            "Give a file in a directory that exists and that this account may write to.",
        ) from error


def _summary(code: int, findings: Sequence[Finding], infos: Sequence[Mapping[str, Any]]) -> str:
    """The first line, and behind a bar the figures that a monitoring system draws."""
    first = findings[0].text if findings else "nothing to report"
    others = len(findings) - 1
    text = first if len(first) <= _LONGEST else f"{first[:_LONGEST]}…"
    more = f" (and {others} more)" if others > 0 else ""
    return f"WDATP {LEVELS[code]} - {text.replace('|', '/')}{more} | {_figures(infos)}"


def _figures(infos: Sequence[Mapping[str, Any]]) -> str:
    streams = [stream for info in infos for stream in info["streams"]]
    lag = max((stream["lag_seconds"] or 0 for stream in streams), default=0)
    figures = {
        "lag": f"{lag}s",
        "streams": len(streams),
        "failing": sum(stream["last_error"] is not None for stream in streams),
        "pending": sum(info["pending"] for info in infos),
        "quarantined": sum(stream["quarantined"] for stream in streams),
    }
    return " ".join(f"{name}={value}" for name, value in figures.items())


def _detail(finding: Finding) -> str:
    level = "" if finding.level == OK else f"{LEVELS[finding.level]}: "
    return f"{level}{finding.text}" + (f"\n  {finding.remedy}" if finding.remedy else "")
