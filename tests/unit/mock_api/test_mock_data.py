# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The alerts: seeded, shaped as Microsoft documents them, and realistic in the ways that hurt."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import pytest
from mock_api.clock import parse_time
from mock_api.dataset import APIS, DataOptions, Dataset

NOW = parse_time("2026-11-24T12:00:00Z")

GRAPH_ALERT = """
    id providerAlertId incidentId title description recommendedActions category assignedTo alertWebUrl incidentWebUrl
    detectorId tenantId createdDateTime lastUpdateDateTime resolvedDateTime firstActivityDateTime lastActivityDateTime
    mitreTechniques systemTags comments evidence severity status classification determination serviceSource
    detectionSource threatFamilyName productName
""".split()
GRAPH_INCIDENT = """
    id tenantId incidentWebUrl redirectIncidentId displayName createdDateTime lastUpdateDateTime assignedTo
    classification determination status severity customTags systemTags comments description
""".split()
MDE_ALERT = """
    id incidentId investigationId assignedTo severity status classification determination investigationState
    detectionSource detectorId category threatFamilyName title description alertCreationTime firstEventTime
    lastEventTime lastUpdateTime resolvedTime machineId computerDnsName rbacGroupName aadTenantId threatName
    mitreTechniques relatedUser comments evidence
""".split()
EXPORTER_ROW = """
    AlertTime ComputerDnsName AlertTitle Category Severity AlertId Actor LinkToWDATP IocName IocValue CreatorIocName
    CreatorIocValue Sha1 FileName FilePath IpAddress Url IoaDefinitionId UserName AlertPart FullId LastProcessedTimeUtc
    ThreatCategory ThreatFamily ThreatName RemediationAction RemediationIsSuccess Source Md5 Sha256
    WasExecutingWhileDetected UserDomain LogOnUsers MachineDomain MachineName InternalIPv4List InternalIPv6List FileHash
    DeviceID MachineGroup Description DeviceCreatedMachineTags CloudCreatedMachineTags CommandLine IncidentLinkToWDATP
    ReportID LinkToMTP IncidentLinkToMTP ExternalId IocUniqueId
""".split()


def make(**knobs: Any) -> Dataset:
    return Dataset(DataOptions(**{"tenant_id": "t-1", "domain": "contoso.example", "alerts": 600, **knobs}), NOW)


def truth(
    dataset: Dataset, api: str, detail: bool = True, unknown_members: bool = True
) -> list[tuple[str, str, bytes]]:
    return list(dataset.truth(api, detail, unknown_members))


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return make()


@pytest.mark.parametrize(
    ("api", "keys", "id_key", "time_key"),
    [
        ("graph_alerts", GRAPH_ALERT, "id", "lastUpdateDateTime"),
        ("graph_incidents", GRAPH_INCIDENT, "id", "lastUpdateDateTime"),
        ("mde_alerts", MDE_ALERT, "id", "lastUpdateTime"),
        ("alert_exporter", EXPORTER_ROW, "FullId", "LastProcessedTimeUtc"),
    ],
)
def test_shapes(dataset: Dataset, api: str, keys: list[str], id_key: str, time_key: str) -> None:
    entries = truth(dataset, api)
    ids = [alert_id for alert_id, _time, _raw in entries]
    assert len(set(ids)) == len(ids)
    for alert_id, time, raw in entries:
        row = json.loads(raw)
        assert set(keys) <= set(row)
        assert (row[id_key], row[time_key]) == (alert_id, time)


def test_the_same_seed_gives_the_same_alerts() -> None:
    for api in APIS:
        first = truth(make(alerts=60), api)
        assert truth(make(alerts=60), api) == first
        others = truth(make(alerts=60, seed=2), api)
        assert not {raw for _id, _time, raw in first} & {raw for _id, _time, raw in others}
        # Incidents are numbered, whatever they are.
        assert api == "graph_incidents" or not {entry[0] for entry in first} & {entry[0] for entry in others}


def test_all_apis_tell_of_the_same_alerts(dataset: Dataset) -> None:
    graph = {entry[0]: (entry[1], json.loads(entry[2])) for entry in truth(dataset, "graph_alerts")}
    mde = {entry[0]: (entry[1], json.loads(entry[2])) for entry in truth(dataset, "mde_alerts")}
    exporter = [json.loads(entry[2]) for entry in truth(dataset, "alert_exporter")]
    incidents = {entry[0]: json.loads(entry[2]) for entry in truth(dataset, "graph_incidents")}
    assert graph.keys() == mde.keys() == {row["AlertId"] for row in exporter}
    for alert_id, (time, row) in graph.items():
        other_time, other = mde[alert_id]
        assert time == other_time
        assert row["title"] == other["title"]
        assert row["incidentId"] == str(other["incidentId"])
        assert row["createdDateTime"] == other["alertCreationTime"]
        assert row in incidents[row["incidentId"]]["alerts"]
    assert sum(len(row["alerts"]) for row in incidents.values()) == 600


def test_what_hurts(dataset: Dataset) -> None:
    entries = truth(dataset, "graph_alerts")
    everything = b"".join(raw for _id, _time, raw in entries)
    found = [json.loads(raw) for _id, _time, raw in entries]
    times = [time for _id, time, _raw in entries]
    assert max(Counter(times).values()) >= 2
    assert {len(time.partition(".")[2].rstrip("Z")) for time in times} >= {0, 1, 3, 7}
    # Text order is not the order of time, once fractions have different lengths.
    assert sorted(times) != times
    assert re.search(rb'Id":(9[3-9]|\d{3})\d{17}', everything)
    for text in (b"1E400", b"0.1000", b"-0.0", b"9007199254740993", b"\\/", b"\\u00e9", b"\\ud83d\\udc1b", b"\\u0000"):
        assert text in everything
    for word in ("山田太郎", "张伟", "db-ærø", "{{ 7*7 }}", "<script>", "${jndi:", "\u202e", "\u200b"):
        assert word in json.dumps(found, ensure_ascii=False)
    kinds = {item["@odata.type"].rpartition(".")[2] for row in found for item in row["evidence"]}
    assert kinds >= {"deviceEvidence", "processEvidence", "fileEvidence", "userEvidence", "ipEvidence", "urlEvidence"}
    assert kinds >= {"registryValueEvidence", "mailboxEvidence", "quantumSensorEvidence"}
    systems = {item.get("osPlatform") for row in found for item in row["evidence"]}
    assert {"Windows11", "WindowsServer2019", "Linux", "macOS"} <= systems
    assert any("x-futureKey" in row for row in found)
    assert any("additionalData" not in row for row in found) and any(row.get("additionalData") for row in found)
    for key in ("severity", "status", "serviceSource", "classification", "assignedTo"):
        assert len({row[key] for row in found}) >= 3
    assert any(
        parse_time(row["lastUpdateDateTime"]) - parse_time(row["createdDateTime"]) > 864_000_000_000 for row in found
    )
    assert any(row["lastUpdateDateTime"] == row["createdDateTime"] for row in found)


def test_the_exporters_rows(dataset: Dataset) -> None:
    found = [json.loads(raw) for _id, _time, raw in truth(dataset, "alert_exporter")]
    assert {row["AlertPart"] for row in found} == {0, 1, 2}
    # A missing value is null, or an empty string.
    assert {row["Actor"] for row in found} == {None, ""}
    assert {row["RemediationIsSuccess"] for row in found} == {True, None}


def test_members_that_clients_do_not_know(dataset: Dataset) -> None:
    hidden = {
        json.loads(raw)["serviceSource"] for _id, _time, raw in truth(dataset, "graph_alerts", unknown_members=False)
    }
    shown = {json.loads(raw)["serviceSource"] for _id, _time, raw in truth(dataset, "graph_alerts")}
    assert hidden - shown == {"unknownFutureValue"}
    assert shown - hidden == {"microsoftSentinel"}


@pytest.mark.parametrize("api", ["graph_alerts", "mde_alerts", "alert_exporter"])
@pytest.mark.parametrize("size", [5500, 20_000])
def test_sizes(api: str, size: int) -> None:
    sizes = [len(raw) for _id, _time, raw in truth(make(size=size, alerts=200), api)]
    assert abs(sum(sizes) / len(sizes) - size) < size * 0.05


@pytest.mark.parametrize("layout", ["spaces", "lines"])
def test_layouts_say_the_same(dataset: Dataset, layout: str) -> None:
    other = make(layout=layout)
    for api in APIS:
        for entry, changed in zip(truth(dataset, api)[:50], truth(other, api)[:50]):
            assert json.loads(entry[2]) == json.loads(changed[2])
            assert len(changed[2]) > len(entry[2])


def test_alerts_are_found_by_their_id(dataset: Dataset) -> None:
    for number in range(600):
        assert dataset.find_alert(dataset.alert_id(number)) == number
    for text in ("", "da1_2", "da639311604988693204_720764758", "ad00000000-0000-4000-a000-000000000000", "nonsense"):
        assert dataset.find_alert(text) is None
    for number in range(len(dataset.incidents)):
        assert dataset.find_incident(str(dataset.incident_id(number))) == number
    assert dataset.find_incident("9999") is dataset.find_incident("10087") is dataset.find_incident("x") is None


def test_a_small_tenant_has_something_to_show_for_the_last_minutes() -> None:
    times = [parse_time(time) for _id, time, _raw in truth(make(), "graph_alerts")]
    assert 150 < sum(1 for ticks in times if ticks > NOW - 15 * 60 * 10_000_000) < 200
