# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A mock of Microsoft Entra ID and of four Microsoft Defender alert APIs, for tests. See docs/mock_tenant.md."""

from __future__ import annotations

from .config import TenantConfig
from .tenant import MockTenant

__all__ = ["MockTenant", "TenantConfig"]
