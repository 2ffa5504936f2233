# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection's version, as it stands in galaxy.yml, and the oldest libraries that it runs with (tests compare what
else says so)."""

from __future__ import annotations

VERSION = "0.1.0"
LIBRARIES = {"requests": "2.25", "msal": "1.20"}
