# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How one alert looks in the alerts API of Defender for Endpoint."""

from __future__ import annotations

from typing import Any

from .jsontext import Slot, Text, quoted
from .scenarios import Story

# Every entity has all keys; those that do not fit its type are null.
_ENTITY_KEYS = (
    "entityType evidenceCreationTime sha1 sha256 fileName filePath processId processCommandLine processCreationTime "
    "parentProcessId parentProcessCreationTime parentProcessFileName parentProcessFilePath ipAddress url registryKey "
    "registryHive registryValueType registryValue registryValueName accountName domainName userSid aadUserId "
    "userPrincipalName detectionStatus"
).split()

SOURCES = {
    "microsoftDefenderForEndpoint": "WindowsDefenderAtp",
    "antivirus": "WindowsDefenderAv",
    "smartScreen": "WindowsDefenderSmartScreen",
    "customTi": "CustomerTI",
}


def detection_source(story: Story) -> str:
    return SOURCES.get(story.detection, story.detection[0].upper() + story.detection[1:])


def alert(story: Story, expand: bool, padding: tuple[str, list[Any]]) -> dict[str, Any]:
    text, more_evidence = padding
    description = story.description if not text else _longer(story.description, text)
    return {
        "id": quoted("id"),
        "incidentId": Slot("incident"),
        "investigationId": Slot("investigation"),
        "assignedTo": Slot("assigned"),
        "severity": quoted("Severity"),
        "status": quoted("Status"),
        "classification": Slot("Classification"),
        "determination": Slot("Determination"),
        "investigationState": "Queued" if story.detection == "antivirus" else "UnsupportedAlertType",
        "detectionSource": detection_source(story),
        "detectorId": quoted("detector"),
        "category": story.category,
        "threatFamilyName": story.family,
        "title": story.title,
        "description": description,
        "alertCreationTime": quoted("created"),
        "firstEventTime": quoted("first"),
        "lastEventTime": quoted("last"),
        "lastUpdateTime": quoted("updated"),
        "resolvedTime": Slot("resolved"),
        "machineId": quoted("host_id"),
        "computerDnsName": quoted("host_dns"),
        "rbacGroupName": Slot("host_group_or_null"),
        "aadTenantId": quoted("tenant"),
        "threatName": story.threat,
        "mitreTechniques": list(story.techniques),
        "relatedUser": {"userName": quoted("user_name"), "domainName": quoted("user_domain")},
        **story.extra,
        "loggedOnUsers": [{"accountName": quoted("user_name"), "domainName": quoted("user_domain")}],
        "comments": [],
        "evidence": _evidence(story) + more_evidence if expand else [],
    }


def _longer(description: str | Text, text: str) -> Text:
    parts = description.parts if isinstance(description, Text) else (description,)
    return Text(*parts, text)


def _entity(kind: str, **values: Any) -> dict[str, Any]:
    known = {"entityType": kind, "evidenceCreationTime": quoted("created"), **values}
    return {key: known.get(key) for key in _ENTITY_KEYS}


def _file(story: Story) -> dict[str, Any]:
    return {
        "sha1": quoted("sha1"),
        "sha256": quoted("sha256"),
        "fileName": story.process,
        "filePath": Text(Slot("folder")),
    }


def _evidence(story: Story) -> list[dict[str, Any]]:
    user = {
        "accountName": quoted("user_name"),
        "domainName": quoted("user_domain"),
        "userSid": quoted("user_sid"),
        "aadUserId": Slot("user_aad"),
        "userPrincipalName": Slot("user_upn"),
    }
    found = []
    if "process" in story.evidence:
        process = {
            "processId": Slot("pid"),
            "processCommandLine": story.command,
            "processCreationTime": quoted("first"),
            "parentProcessId": Slot("parent_pid"),
            "detectionStatus": "Detected",
        }
        found.append(_entity("Process", **_file(story), **process, **user))
    if "file" in story.evidence:
        found.append(_entity("File", **_file(story), detectionStatus="Prevented"))
    if "user" in story.evidence:
        found.append(_entity("User", **user))
    if "ip" in story.evidence:
        found.append(_entity("Ip", ipAddress=quoted("remote_ip")))
    if "url" in story.evidence:
        found.append(_entity("Url", url=Text("https://cdn.example.net/", Slot("hex16"))))
    if "registry" in story.evidence:
        found.append(_entity("Registry", registryHive="HKEY_LOCAL_MACHINE", registryValue=quoted("hex16")))
    return found


def spare_evidence() -> dict[str, Any]:
    return _entity(
        "File", sha1=quoted("sha1"), sha256=quoted("sha256"), fileName="a.dll", filePath="C:\\Program Files\\Example"
    )
