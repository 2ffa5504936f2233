# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a host keeps what it has received. Private to this collection."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  state_dir:
    description:
      - The directory that has the cursors, the ledger of known events and the outbox, on the host where this runs.
      - Where it is not given, E(WDATP_STATE_DIR) is used.
    type: path
    default: /var/lib/wdatp
"""
