# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How one detection looks in the legacy SIEM API, the alert exporter."""

from __future__ import annotations

from typing import Any

from .jsontext import Slot, Text, quoted
from .scenarios import Story

_OLD = "https://securitycenter.windows.com"
_NEW = "https://security.microsoft.com"
CLOUD_TAGS = ("Tag A", "Tag B")


def row(story: Story, nulls: bool, padding: tuple[str, list[Any]]) -> dict[str, Any]:
    """`nulls`: a missing value is null, as in 2017, and not an empty string, as in 2020."""
    nothing = None if nulls else ""
    text, more = padding
    description = story.description.parts if isinstance(story.description, Text) else (story.description,)
    known: dict[str, Any] = {}
    if story.command:
        known = {"CommandLine": story.command, "FileName": story.process, "FilePath": Text(Slot("folder"))}
    if "file" in story.evidence:
        known |= {"Sha1": quoted("sha1"), "Sha256": quoted("sha256"), "FileHash": quoted("sha1"), "Md5": quoted("md5")}
    if "ip" in story.evidence:
        known |= {"IpAddress": quoted("remote_ip")}
    if "url" in story.evidence:
        known |= {"Url": Text("https://cdn.example.net/", Slot("hex16"))}
    if story.threat:
        known |= {"ThreatName": story.threat, "ThreatFamily": story.family, "ThreatCategory": "Trojan"}
    antivirus = story.detection == "antivirus"
    return {
        "AlertTime": quoted("created"),
        "ComputerDnsName": quoted("host_dns"),
        "AlertTitle": story.title,
        "Category": story.category,
        "Severity": quoted("Severity"),
        "AlertId": quoted("id"),
        "Actor": nothing,
        "LinkToWDATP": Text(f"{_OLD}/alert/", Slot("id")),
        "IocName": nothing,
        "IocValue": nothing,
        "CreatorIocName": nothing,
        "CreatorIocValue": nothing,
        **{key: known.get(key, nothing) for key in ("Sha1", "FileName", "FilePath", "IpAddress", "Url")},
        "IoaDefinitionId": quoted("detector"),
        "UserName": quoted("user_name"),
        "AlertPart": Slot("part"),
        "FullId": Text(Slot("id"), ":", Slot("ioc")),
        "LastProcessedTimeUtc": quoted("updated"),
        **{key: known.get(key, nothing) for key in ("ThreatCategory", "ThreatFamily", "ThreatName")},
        "RemediationAction": "quarantine" if antivirus else nothing,
        "RemediationIsSuccess": True if antivirus else None,
        "Source": "Antivirus" if antivirus else "EDR",
        **{key: known.get(key, nothing) for key in ("Md5", "Sha256")},
        "WasExecutingWhileDetected": False if antivirus else None,
        "UserDomain": quoted("user_domain"),
        "LogOnUsers": Text(Slot("user_domain"), "\\", Slot("user_name"), "; ", "NT SERVICE\\x"),
        "MachineDomain": quoted("host_domain"),
        "MachineName": quoted("host_name"),
        "InternalIPv4List": Text(Slot("host_ip"), ";127.0.0.1"),
        "InternalIPv6List": Text(Slot("host_ip6"), ";::1"),
        "FileHash": known.get("FileHash", nothing),
        "DeviceID": quoted("host_id"),
        "MachineGroup": quoted("host_group"),
        "Description": Text(*description, text),
        "DeviceCreatedMachineTags": nothing,
        "CloudCreatedMachineTags": ",".join(CLOUD_TAGS),
        "CommandLine": known.get("CommandLine", nothing),
        "IncidentLinkToWDATP": Text(f"{_OLD}/incidents/byalert?alertId=", Slot("id"), "&source=SIEM"),
        "ReportID": Slot("report"),
        "LinkToMTP": Text(f"{_NEW}/alert/", Slot("id")),
        "IncidentLinkToMTP": Text(f"{_NEW}/incidents/byalert?alertId=", Slot("id"), "&source=SIEM"),
        "ExternalId": quoted("external"),
        "IocUniqueId": quoted("ioc"),
        **({"Evidence": more} if more else {}),
    }
