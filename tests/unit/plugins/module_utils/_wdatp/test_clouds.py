# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp.clouds import APIS, CLOUDS, known_host, serves
from ansible_collections.secops.defender.plugins.module_utils._wdatp.errors import OptionError


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_cloud_has_all_apis(cloud: str) -> None:
    found = CLOUDS[cloud]
    assert found.name == cloud
    assert set(found.hosts) == set(found.scopes) == set(APIS)
    assert found.authority.startswith("https://login.microsoftonline.")
    assert all(scope.startswith("https://") and scope.endswith("/.default") for scope in found.scopes.values())


@pytest.mark.parametrize("cloud", CLOUDS)
@pytest.mark.parametrize("api", APIS)
def test_a_clouds_own_hosts_are_known_as_its_own(cloud: str, api: str) -> None:
    host = CLOUDS[cloud].hosts[api]
    assert serves(host, api)
    known = known_host(host)
    assert known is not None
    assert cloud in known[1]


@pytest.mark.parametrize(
    ("host", "api", "clouds"),
    [
        ("wdatp-alertexporter-eu.windows.com", "alert_exporter", ("commercial",)),
        ("wdatp-alertexporter-uk.securitycenter.windows.com", "alert_exporter", ("commercial",)),
        ("WDATP-AlertExporter-US.windows.com.", "alert_exporter", ("commercial",)),
        ("wdatp-alertexporter-us.windows.com:443", "alert_exporter", ("commercial",)),
        ("api-eu.securitycenter.microsoft.com", "mde_alerts", ("commercial",)),
        ("us.api.security.microsoft.com", "mde_alerts", ("commercial",)),
        ("api.securitycenter.windows.com", "mde_alerts", ("commercial",)),
        ("api-gov.securitycenter.microsoft.us", "mde_alerts", ("gcc_high", "dod")),
    ],
)
def test_known_hosts(host: str, api: str, clouds: tuple[str, ...]) -> None:
    assert known_host(host) == (api, clouds)


@pytest.mark.parametrize("host", ["127.0.0.1:8443", "graph.microsoft.com.example", "xgraph.microsoft.com", "localhost"])
def test_unknown_hosts_may_serve_all(host: str) -> None:
    assert known_host(host) is None
    assert all(serves(host, api) for api in APIS)


def test_graph_serves_alerts_and_incidents() -> None:
    served = {api for api in APIS if serves("graph.microsoft.com", api)}
    assert served == {"graph_alerts", "graph_incidents"}


@pytest.mark.parametrize("host", ["microsoftgraph.chinacloudapi.cn", "login.microsoftonline.cn", "x.azure.cn:443"])
def test_china(host: str) -> None:
    with pytest.raises(OptionError, match="China") as caught:
        known_host(host)
    assert caught.value.code == "option.china"
