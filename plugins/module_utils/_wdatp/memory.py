# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps the process as small in its thousandth page as in its first."""

from __future__ import annotations

import ctypes

# glibc's mallopt(3).
_M_MMAP_THRESHOLD = -3
_THRESHOLD_BYTES = 1 << 18


def give_large_blocks_back() -> None:
    """Large blocks, such as pages of alerts, go back to the system as soon as they are free.

    glibc raises its threshold for that with the first large block that is freed, and keeps the later ones in its heaps,
    which fragment: a long pull then takes ever more memory. Other C libraries have no such habit, and no mallopt.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(_M_MMAP_THRESHOLD, _THRESHOLD_BYTES)
