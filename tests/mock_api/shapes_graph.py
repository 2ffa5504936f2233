# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How one alert, and one incident, look in Microsoft Graph."""

from __future__ import annotations

from typing import Any

from .jsontext import Raw, Slot, Text, quoted
from .scenarios import ADVICE, Story

_PORTAL = "https://security.microsoft.com"


def alert(story: Story, unknown_members: bool, padding: tuple[str, list[Any]]) -> dict[str, Any]:
    """The object as a template. `unknown_members`: the client asked to see members that it may not know."""
    advice, more_evidence = padding
    body: dict[str, Any] = {
        "@odata.type": "#microsoft.graph.security.alert",
        "id": quoted("id"),
        "providerAlertId": quoted("provider_id"),
        "incidentId": quoted("incident"),
        "status": quoted("status"),
        "severity": quoted("severity"),
        "classification": Slot("classification"),
        "determination": Slot("determination"),
        "serviceSource": "unknownFutureValue" if story.service_is_new and not unknown_members else story.service,
        "detectionSource": "unknownFutureValue" if story.service_is_new and not unknown_members else story.detection,
        "productName": "Microsoft Defender XDR",
        "detectorId": quoted("detector"),
        "tenantId": quoted("tenant"),
        "title": story.title,
        "description": story.description,
        "recommendedActions": ADVICE + advice,
        "category": story.category,
        "assignedTo": Slot("assigned"),
        "alertWebUrl": Text(f"{_PORTAL}/alerts/", Slot("id"), "?tid=", Slot("tenant")),
        "incidentWebUrl": Text(f"{_PORTAL}/incidents/", Slot("incident"), "?tid=", Slot("tenant")),
        "actorDisplayName": None,
        "threatDisplayName": story.threat,
        "threatFamilyName": story.family,
        "mitreTechniques": list(story.techniques),
        "createdDateTime": quoted("created"),
        "lastUpdateDateTime": quoted("updated"),
        "resolvedDateTime": Slot("resolved"),
        "firstActivityDateTime": quoted("first"),
        "lastActivityDateTime": quoted("last"),
        "systemTags": [],
        "additionalData": story.additional,
        **story.extra,
        "comments": [],
        "evidence": [_EVIDENCE[kind](story) for kind in story.evidence] + more_evidence,
    }
    # Some products leave keys out where others send null.
    if story.id_form == "aa":
        del body["additionalData"]
    if story.id_form == "ca":
        del body["actorDisplayName"], body["threatDisplayName"]
        body["comments"] = [_comment()]
    return body


def _comment() -> dict[str, Any]:
    return {
        "comment": 'Looked at it \u2013 "benign"?\nWill ask.',
        "createdByDisplayName": Slot("user_display"),
        "createdDateTime": quoted("updated"),
    }


def _common(kind: str, verdict: str = "suspicious", roles: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "@odata.type": f"#microsoft.graph.security.{kind}",
        "createdDateTime": quoted("created"),
        "verdict": verdict,
        "remediationStatus": "none",
        "remediationStatusDetails": None,
        "roles": list(roles),
        "detailedRoles": [],
        "tags": [],
    }


def _account() -> dict[str, Any]:
    return {
        "accountName": quoted("user_name"),
        "domainName": quoted("user_domain"),
        "userSid": quoted("user_sid"),
        "azureAdUserId": Slot("user_aad"),
        "userPrincipalName": Slot("user_upn"),
        "displayName": Slot("user_display"),
    }


def _image(story: Story) -> dict[str, Any]:
    return {
        "sha1": quoted("sha1"),
        "sha256": quoted("sha256"),
        "fileName": story.process,
        "filePath": Text(Slot("folder")),
        "fileSize": Slot("file_size"),
        "filePublisher": "Microsoft Corporation" if story.system == "windows" else None,
        "signer": None,
        "issuer": None,
    }


def _device(story: Story) -> dict[str, Any]:
    return {
        **_common("deviceEvidence", "unknown", ("compromised",)),
        "firstSeenDateTime": "2024-09-12T07:28:32.4321753Z",
        "mdeDeviceId": quoted("host_id"),
        "azureAdDeviceId": Slot("host_aad"),
        "deviceDnsName": quoted("host_dns"),
        "hostName": quoted("host_name"),
        "ntDomain": None,
        "dnsDomain": quoted("host_domain"),
        "osPlatform": quoted("host_os"),
        "osBuild": Slot("host_build"),
        "version": quoted("host_version"),
        "healthStatus": quoted("host_health"),
        "riskScore": quoted("host_risk"),
        "rbacGroupId": Slot("host_group_id"),
        "rbacGroupName": Slot("host_group_or_null"),
        "onboardingStatus": "onboarded",
        "defenderAvStatus": "unknown",
        "lastIpAddress": quoted("host_ip"),
        "lastExternalIpAddress": quoted("host_external_ip"),
        "ipInterfaces": [quoted("host_ip"), quoted("host_ip6"), "127.0.0.1", "::1"],
        "vmMetadata": None,
        "loggedOnUsers": [{"accountName": quoted("user_name"), "domainName": quoted("user_domain")}],
    }


def _process(story: Story) -> dict[str, Any]:
    return {
        **_common("processEvidence"),
        "processId": Slot("pid"),
        "parentProcessId": Slot("parent_pid"),
        "processCommandLine": story.command,
        "processCreationDateTime": quoted("first"),
        "parentProcessCreationDateTime": quoted("first"),
        "detectionStatus": "detected",
        "mdeDeviceId": quoted("host_id"),
        "imageFile": _image(story),
        "parentProcessImageFile": None,
        "userAccount": _account(),
    }


def _file(story: Story) -> dict[str, Any]:
    return {
        **_common("fileEvidence", "malicious"),
        "detectionStatus": "prevented",
        "mdeDeviceId": quoted("host_id"),
        "fileDetails": _image(story),
    }


def _user(story: Story) -> dict[str, Any]:
    return {**_common("userEvidence"), "stream": None, "userAccount": _account()}


def _ip(story: Story) -> dict[str, Any]:
    return {**_common("ipEvidence"), "ipAddress": quoted("remote_ip"), "countryLetterCode": None, "location": None}


def _url(story: Story) -> dict[str, Any]:
    return {**_common("urlEvidence"), "url": Text("https://cdn.example.net/", Slot("hex16"), "?q=%25&r=a b#\u00fc")}


def _registry(story: Story) -> dict[str, Any]:
    return {
        **_common("registryValueEvidence"),
        "registryHive": "HKEY_LOCAL_MACHINE",
        "registryKey": "SYSTEM\\CurrentControlSet\\Control\\Lsa",
        "registryValue": Text(Slot("hex16"), Raw("\\u0000\\u0000")),
        "registryValueName": "Security Packages",
        "registryValueType": "MultiString",
        "mdeDeviceId": quoted("host_id"),
    }


def _mailbox(story: Story) -> dict[str, Any]:
    return {
        **_common("mailboxEvidence"),
        "primaryAddress": Slot("user_upn"),
        "displayName": Slot("user_display"),
        "userAccount": _account(),
    }


def _message(story: Story) -> dict[str, Any]:
    return {
        **_common("analyzedMessageEvidence"),
        "networkMessageId": quoted("guid"),
        "internetMessageId": Text("<", Slot("hex16"), "@mail.example.net>"),
        "subject": '=?UTF-8?Q?R=C3=A9f?= Facture n\u00b0 \u2116 7 \u2014 "urgent"',
        "senderIp": quoted("remote_ip"),
        "deliveryAction": "deliveredAsSpam",
        "urlCount": 2,
        "attachmentsCount": 0,
    }


def _cloud_logon(story: Story) -> dict[str, Any]:
    return {
        **_common("cloudLogonSessionEvidence"),
        "sessionId": quoted("guid"),
        "deviceName": None,
        "account": _account(),
    }


def _cloud_application(story: Story) -> dict[str, Any]:
    return {
        **_common("cloudApplicationEvidence"),
        "appId": 20893,
        "displayName": "Microsoft SharePoint Online",
        "instanceId": 0,
        "saasAppId": Slot("big"),
        "stream": None,
    }


def _future(story: Story) -> dict[str, Any]:
    """A kind of evidence that came after any client was written."""
    return {**_common("quantumSensorEvidence"), "qubits": [Raw("1E-7"), Raw("-0"), None], "": "an empty key"}


_EVIDENCE = {
    "device": _device,
    "process": _process,
    "file": _file,
    "user": _user,
    "ip": _ip,
    "url": _url,
    "registry": _registry,
    "mailbox": _mailbox,
    "message": _message,
    "cloud_logon": _cloud_logon,
    "cloud_application": _cloud_application,
    "future": _future,
}


def spare_evidence() -> dict[str, Any]:
    """Evidence of fixed content, to make an alert as large as it is asked to be."""
    return {
        "@odata.type": "#microsoft.graph.security.fileEvidence",
        "createdDateTime": quoted("created"),
        "verdict": "unknown",
        "remediationStatus": "none",
        "remediationStatusDetails": None,
        "roles": [],
        "detailedRoles": [],
        "tags": [],
        "detectionStatus": "detected",
        "mdeDeviceId": quoted("host_id"),
        "fileDetails": {
            "sha1": quoted("sha1"),
            "sha256": quoted("sha256"),
            "fileName": "a.dll",
            "filePath": "C:\\Program Files\\Example\\bin",
            "fileSize": Slot("file_size"),
            "filePublisher": None,
            "signer": None,
            "issuer": None,
        },
    }


def incident(expand: bool) -> dict[str, Any]:
    body: dict[str, Any] = {
        "@odata.type": "#microsoft.graph.security.incident",
        "id": quoted("incident"),
        "tenantId": quoted("tenant"),
        "status": quoted("incident_status"),
        "incidentWebUrl": Text(f"{_PORTAL}/incidents/", Slot("incident"), "?tid=", Slot("tenant")),
        "redirectIncidentId": Slot("redirect"),
        "displayName": Text("Multi-stage incident involving Execution & Discovery on ", Slot("alert_count"), " alerts"),
        "createdDateTime": quoted("created"),
        "lastUpdateDateTime": quoted("updated"),
        "assignedTo": Slot("assigned"),
        "classification": "unknown",
        "determination": "unknown",
        "severity": quoted("severity"),
        "customTags": ["Demo", "caf\u00e9"],
        "systemTags": ["Defender Experts"],
        "description": "Reported by several sources. {{ not a template }}",
        "lastModifiedBy": "Microsoft 365 Defender-AlertCorrelation",
        "resolvingComment": None,
        "summary": None,
        "priorityScore": Raw("17.0"),
        "comments": [],
    }
    if expand:
        body["alerts"] = Slot("alerts")
    return body
