# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One table: which cloud has which login authority, API hosts and token scopes.

Sources: Microsoft Graph national cloud deployments (learn.microsoft.com/graph/deployments); Entra ID national clouds
(learn.microsoft.com/entra/identity-platform/authentication-national-cloud); Defender for Endpoint for US Government
customers and its API list (learn.microsoft.com/defender-endpoint/gov, .../api/exposed-apis-list); the retired page
"Pull detections to your SIEM tools" for the alert exporter's hosts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import OptionError

APIS = ("graph_alerts", "graph_incidents", "mde_alerts", "alert_exporter")
DEFAULT_API = "graph_alerts"
DEFAULT_CLOUD = "commercial"


@dataclass(frozen=True)
class Cloud:
    name: str
    authority: str
    # API -> host name
    hosts: dict[str, str]
    # API -> scope of the token
    scopes: dict[str, str]


def _cloud(name: str, authority: str, graph: str, mde: str, mde_audience: str, exporter: str) -> Cloud:
    graph_scope = f"https://{graph}/.default"
    return Cloud(
        name,
        f"https://{authority}",
        hosts={"graph_alerts": graph, "graph_incidents": graph, "mde_alerts": mde, "alert_exporter": exporter},
        scopes={
            "graph_alerts": graph_scope,
            "graph_incidents": graph_scope,
            "mde_alerts": f"https://{mde_audience}/.default",
            # The legacy SIEM API takes tokens for Azure AD Graph, in every cloud that is documented.
            "alert_exporter": "https://graph.windows.net/.default",
        },
    )


_PUBLIC_LOGIN = "login.microsoftonline.com"
_GOV_LOGIN = "login.microsoftonline.us"

CLOUDS = {
    cloud.name: cloud
    for cloud in (
        _cloud(
            "commercial",
            _PUBLIC_LOGIN,
            "graph.microsoft.com",
            "api.security.microsoft.com",
            "api.securitycenter.microsoft.com",
            "wdatp-alertexporter-us.windows.com",
        ),
        _cloud(
            "gcc",
            _PUBLIC_LOGIN,
            "graph.microsoft.com",
            "api-gcc.securitycenter.microsoft.us",
            "api-gcc.securitycenter.microsoft.us",
            "wdatp-alertexporter-us.gcc.securitycenter.windows.us",
        ),
        _cloud(
            "gcc_high",
            _GOV_LOGIN,
            "graph.microsoft.us",
            "api-gov.securitycenter.microsoft.us",
            "api-gov.securitycenter.microsoft.us",
            "wdatp-alertexporter-us.securitycenter.windows.us",
        ),
        _cloud(
            "dod",
            _GOV_LOGIN,
            "dod-graph.microsoft.us",
            "api-gov.securitycenter.microsoft.us",
            "api-gov.securitycenter.microsoft.us",
            "wdatp-alertexporter-us.securitycenter.windows.us",
        ),
    )
}

# Host names -> (API, clouds in which the host is right). The first pattern that fits decides.
_HOSTS: tuple[tuple[re.Pattern[str], str, tuple[str, ...]], ...] = tuple(
    (re.compile(pattern), api, tuple(clouds.split()))
    for pattern, api, clouds in (
        (r"graph\.microsoft\.com", "graph_alerts", "commercial gcc"),
        (r"graph\.microsoft\.us", "graph_alerts", "gcc_high"),
        (r"dod-graph\.microsoft\.us", "graph_alerts", "dod"),
        (r"wdatp-alertexporter-[a-z]+\.gcc\.securitycenter\.windows\.us", "alert_exporter", "gcc"),
        (r"wdatp-alertexporter-[a-z]+\.securitycenter\.windows\.us", "alert_exporter", "gcc_high dod"),
        (r"wdatp-alertexporter-[a-z]+\.(?:securitycenter\.)?windows\.com", "alert_exporter", "commercial"),
        (r"api-gcc\.security(?:center)?\.microsoft\.us", "mde_alerts", "gcc"),
        (r"api-gov\.security(?:center)?\.microsoft\.us", "mde_alerts", "gcc_high dod"),
        (r"(?:[a-z]+\.)?api\.security\.microsoft\.com", "mde_alerts", "commercial"),
        (r"api(?:-[a-z]+)?\.securitycenter\.microsoft\.com", "mde_alerts", "commercial"),
        (r"api(?:-[a-z]+)?\.securitycenter\.windows\.com", "mde_alerts", "commercial"),
    )
)
_CHINAS = ("china", "21vianet", "mooncake", "azure_china", "azurechina", "azurechinacloud")
_CHINA = re.compile(r"(?:.*\.)?(?:chinacloudapi\.cn|microsoftonline\.cn|azure\.cn)")


def known_host(host: str) -> tuple[str, tuple[str, ...]] | None:
    """(API, clouds) of a Microsoft host, or None for a host that is not in the table.

    OptionError for a host of the cloud operated by 21Vianet, where Microsoft offers none of these APIs.
    """
    name = host.rsplit(":", 1)[0].lower().rstrip(".")
    if _CHINA.fullmatch(name):
        raise no_china(f"host: {host}")
    for pattern, api, clouds in _HOSTS:
        if pattern.fullmatch(name):
            return api, clouds
    return None


def serves(host: str, api: str) -> bool:
    """Whether a known host serves this API; an unknown host may serve any."""
    known = known_host(host)
    if known is None:
        return True
    return known[0] == api or (known[0] == "graph_alerts" and api == "graph_incidents")


def refuse_china(name: str, option: str = "cloud") -> None:
    """OptionError where somebody asks for Microsoft's China cloud, under whatever name."""
    if name.strip().lower() in _CHINAS:
        raise no_china(f"{option}: {name}")


def check_cloud(name: str) -> Cloud:
    """The cloud of this name. OptionError where there is none."""
    refuse_china(name)
    if name not in CLOUDS:
        raise OptionError(f"cloud: there is no cloud {name!r}.", f"Choose one of {', '.join(CLOUDS)}.")
    return CLOUDS[name]


def no_china(what: str) -> OptionError:
    return OptionError(
        f"{what}: Microsoft offers none of these alert APIs in its China cloud (operated by 21Vianet).",
        f"Use one of the clouds {', '.join(CLOUDS)}.",
        code="option.china",
    )
