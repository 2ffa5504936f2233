# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a command and adds a JSON line to a file: its wall time, CPU time and peak memory, and those of its children.

`measure.py FILE COMMAND...`. A process of its own, and a small one, because a child's peak memory begins with that of
the process that started it.
"""

from __future__ import annotations

import json
import os
import sys
import time


def main() -> int:
    path, *command = sys.argv[1:]
    started = time.monotonic()
    child = os.posix_spawnp(command[0], command, os.environ)
    _child, status, usage = os.wait4(child, 0)
    figures = {
        "command": command,
        "wall_seconds": time.monotonic() - started,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "user_seconds": usage.ru_utime,
        # Linux counts in kilobytes.
        "peak_megabytes": usage.ru_maxrss / 1024,
    }
    with open(path, "a", encoding="utf-8") as stream:
        stream.write(json.dumps(figures) + "\n")
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
