# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All sources by the name of their API."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .alert_exporter import AlertExporter
from .base import Source
from .graph_alerts import GraphAlerts
from .graph_incidents import GraphIncidents
from .mde_alerts import MdeAlerts

SOURCES: dict[str, type[Source]] = {
    source.name: source for source in (GraphAlerts, GraphIncidents, MdeAlerts, AlertExporter)
}


def source_of(api: str, expand: bool = True, wanted: Mapping[str, Iterable[str]] | None = None) -> Source:
    """The source of an API with these filters. OptionError for a filter or value that the API doesn't know."""
    return SOURCES[api](expand, wanted)
