# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Time as Microsoft counts it: ticks of 100 nanoseconds. Here since 1970."""

from __future__ import annotations

import re
import time
from datetime import datetime, timezone
from email.utils import formatdate
from functools import lru_cache

SECOND = 10_000_000
# The .NET calendar begins in the year 1; alert ids carry such ticks.
DOTNET_EPOCH = 621_355_968_000_000_000

_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,7}))?)?(?:(Z)|([+-])(\d\d):(\d\d))?", re.ASCII
)
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw]?)", re.ASCII)
_ISO_DURATION = re.compile(
    r"P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?", re.ASCII | re.IGNORECASE
)
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


class Clock:
    """The mock tenant's own clock, which may be ahead of or behind the machine's."""

    def __init__(self, skew_seconds: float = 0) -> None:
        self.skew_seconds = skew_seconds

    def seconds(self) -> float:
        return time.time() + self.skew_seconds

    def ticks(self) -> int:
        return time.time_ns() // 100 + int(self.skew_seconds * SECOND)

    def http_date(self) -> str:
        return formatdate(self.seconds(), usegmt=True)


@lru_cache(maxsize=4096)
def _day_text(day: int) -> str:
    return datetime.fromtimestamp(day * 86400, timezone.utc).strftime("%Y-%m-%dT")


def time_text(ticks: int) -> str:
    """RFC 3339 as Microsoft writes it: no fraction, or 1 to 7 digits without trailing zeros."""
    seconds, fraction = divmod(ticks, SECOND)
    day, second = divmod(seconds, 86400)
    text = f"{_day_text(day)}{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
    return text + ("." + f"{fraction:07}".rstrip("0") + "Z" if fraction else "Z")


def parse_time(text: str, zone_required: bool = True) -> int:
    """Ticks of a time with Z or an offset; ValueError for everything that Microsoft's APIs refuse as well."""
    match = _TIME.fullmatch(text)
    if match is None or (zone_required and not (match[8] or match[9])):
        raise ValueError(text)
    year, month, day, hour, minute = (int(match[group]) for group in range(1, 6))
    moment = datetime(year, month, day, hour, minute, int(match[6] or 0), tzinfo=timezone.utc)
    offset = (int(match[10]) * 60 + int(match[11])) * (-60 if match[9] == "-" else 60) if match[9] else 0
    return (int(moment.timestamp()) - offset) * SECOND + int((match[7] or "0").ljust(7, "0"))


def parse_span(value: str | float) -> float:
    """Seconds of '15m', '24h', '30d' or a number."""
    if isinstance(value, (int, float)):
        return float(value)
    match = _SPAN.fullmatch(value.strip())
    if match is None:
        raise ValueError(f"not a time span: {value!r}; write for example 15m, 24h or 30d")
    return float(match[1]) * _UNITS[match[2]]


def parse_iso_duration(text: str) -> int:
    """Ticks of an ISO 8601 duration such as PT10M."""
    match = _ISO_DURATION.fullmatch(text)
    if match is None or not any(match.groups()):
        raise ValueError(text)
    weeks, days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return int((((weeks * 7 + days) * 24 + hours) * 3600 + minutes * 60 + seconds) * SECOND)
