# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Time as Microsoft counts it, in ticks of 100 nanoseconds, here since 1970: RFC 3339 and durations."""

from __future__ import annotations

import calendar
import re
import time
from email.utils import parsedate_to_datetime

from .errors import OptionError

SECOND = 10_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:([Zz])|([+-])(\d\d):?(\d\d))?", re.ASCII
)
_DURATION = re.compile(r"(\d+)\s*([smhdw])", re.ASCII | re.IGNORECASE)
_UNITS = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}
_DAYS: dict[str, int] = {}


def _day_seconds(text: str) -> int:
    """Seconds from 1970 to the day `2026-11-24`; few days occur, so they are kept."""
    known = _DAYS.get(text)
    if known is None:
        parts = time.strptime(text, "%Y-%m-%d")
        if len(_DAYS) > 4096:
            _DAYS.clear()
        known = _DAYS[text] = calendar.timegm(parts)
    return known


def parse_time(text: str) -> int:
    """Ticks of an RFC 3339 time; a time without zone is UTC. Digits beyond the seventh are dropped. ValueError."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"not an RFC 3339 time: {text!r}")
    hour, minute, second = int(match[4]), int(match[5]), int(match[6])
    if hour > 23 or minute > 59 or second > 60:
        raise ValueError(f"not a time of day: {text!r}")
    ticks = (_day_seconds(text[:10]) + hour * 3600 + minute * 60 + second) * SECOND
    ticks += int((match[7] or "0")[:7].ljust(7, "0"))
    if match[9]:
        if int(match[10]) > 23 or int(match[11]) > 59:
            raise ValueError(f"not an offset from UTC: {text!r}")
        offset = (int(match[10]) * 60 + int(match[11])) * MINUTE
        ticks -= offset if match[9] == "+" else -offset
    return ticks


def format_time(ticks: int) -> str:
    """RFC 3339 in UTC with seven digits of fraction and `Z`, as every one of the APIs accepts it."""
    seconds, fraction = divmod(ticks, SECOND)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{fraction:07d}Z"


def parse_duration(text: str, option: str) -> int:
    """Ticks of `15m`, `4h`, `30d`, `1w`, `90s`, or several in a row (`1h30m`). OptionError names the option."""
    compact = text.strip()
    pieces = _DURATION.findall(compact)
    if not pieces or "".join(_DURATION.split(compact)[::3]).strip():
        raise OptionError(
            f"{option}: {text!r} is not a duration.",
            "Write a whole number and a unit: s, m, h, d or w, for example 15m, 4h or 30d.",
        )
    return sum(int(number) * _UNITS[unit.lower()] for number, unit in pieces)


def parse_moment(text: str, now: int, option: str) -> int:
    """Ticks of an RFC 3339 time, or of a duration back from `now` (ticks). OptionError names the option.

    Never before 1970: no alert is that old, and no calendar goes back as far as a duration can.
    """
    try:
        return max(0, parse_time(text.strip()))
    except ValueError:
        pass
    try:
        return max(0, now - parse_duration(text, option))
    except OptionError:
        raise OptionError(
            f"{option}: {text!r} is neither a time nor a duration.",
            "Write an RFC 3339 time such as 2026-11-24T08:00:00Z, or how far back from now: 15m, 4h, 30d.",
        ) from None


def parse_http_date(text: str) -> int | None:
    """Ticks of a Date header (RFC 9110, section 5.6.7), or None where it is none."""
    try:
        return int(parsedate_to_datetime(text).timestamp()) * SECOND
    except (TypeError, ValueError, OverflowError):
        return None


def now_ticks() -> int:
    """This host's clock. Windows are computed from the server's: see transport.Transport.server_now."""
    return time.time_ns() // 100
