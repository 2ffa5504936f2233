# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A mock of Microsoft Entra ID and of four Microsoft Defender alert APIs, for tests. See docs/mock_tenant.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .config import TenantConfig
from .proxy import MockProxy

if TYPE_CHECKING:
    from .tenant import MockTenant

__all__ = ["MockProxy", "MockTenant", "TenantConfig"]


def __getattr__(name: str) -> object:
    # Not imported above: Python imports this file before __main__.py, which has a sentence for missing libraries.
    if name == "MockTenant":
        from .tenant import MockTenant

        return MockTenant
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
