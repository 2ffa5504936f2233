# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machines and people of the mock organization, as values for the slots of the templates."""

from __future__ import annotations

import hashlib
import uuid

from .jsontext import escape

Values = dict[str, bytes]

# name, operating system, build (None: not known), version, device group
_MACHINES = (
    ("WS-0117", "Windows11", 22631, "23H2", "Workstations"),
    ("WS-0242", "Windows11", 26100, "24H2", "Workstations"),
    ("WS-0388", "Windows10", 19045, "22H2", "Workstations"),
    ("LAPTOP-JMÜLLER", "Windows11", 22631, "23H2", "Außendienst"),
    ("DC01", "WindowsServer2019", 17763, "1809", "Domain Controllers"),
    ("SQL-PROD-03", "WindowsServer2022", 20348, "21H2", "Servers / Tier 1"),
    ("FILESRV02", "WindowsServer2016", 14393, "1607", 'Servers "old"'),
    ("EXCH01", "WindowsServer2019", 17763, "1809", "Servers / Tier 1"),
    ("KIOSK-7", "Windows10", 17763, "Other", ""),
    ("web-01", "Linux", None, "5.15.0-1052-azure", "Linux"),
    ("k8s-node-4", "Linux", None, "6.8.0-45-generic", "Linux"),
    ("build-runner-12", "Linux", None, "6.1.0-26-amd64", "Linux"),
    ("db-ærø", "Linux", None, "4.18.0-553.el8_10.x86_64", "Linux"),
    ("MacBook-Pro-von-Zoë", "macOS", None, "15.1", "Mac"),
    ("mac-mini-ci", "macOS", None, "14.7.1", "Mac"),
)

# account, display name, write it in ASCII with \u escapes?
_PEOPLE = (
    ("asmith", "Alice Smith", False),
    ("jmueller", "Jürgen Müller", True),
    ("jmüller", "Jürgen Müller", False),
    ("s.o'brien", "Seán O'Brien", False),
    ("山田太郎", "山田 太郎", False),
    ("zhang.wei", "张伟", True),
    ("svc-backup$", "Backup service", False),
    ("SYSTEM", "", False),
    ("root", "", False),
    ("ελένη", "Ελένη Παππά", True),
    ("anna\\admin", 'Anna "the admin" Kowalska', False),
    ("emoji", "Joker 🃏", True),
)


def _family(system: str) -> str:
    return "windows" if system.startswith("Windows") else system.lower()


def _digest(*parts: object) -> str:
    return hashlib.sha1("/".join(map(str, parts)).encode(), usedforsecurity=False).hexdigest()


def _json(text: str | None, ascii_only: bool = False) -> bytes:
    """A JSON string, or null."""
    return b"null" if text is None else b'"' + escape(text, ascii_only) + b'"'


def machine_values(tenant_id: str, domain: str) -> dict[str, list[Values]]:
    """For each family of operating systems: one set of slot values a machine."""
    found: dict[str, list[Values]] = {"windows": [], "linux": [], "macos": []}
    for index, (name, system, build, version, group) in enumerate(_MACHINES):
        digest = _digest(tenant_id, name)
        number = int(digest[:6], 16)
        dns = f"{name.lower()}.{domain}"
        found[_family(system)].append(
            {
                "host_name": escape(name),
                "host_dns": escape(dns),
                "host_domain": escape(domain),
                "host_netbios": escape(domain.split(".")[0].upper()[:15]),
                "host_id": digest.encode(),
                "host_aad": b"null" if index % 3 else _json(str(uuid.uuid5(uuid.NAMESPACE_DNS, dns))),
                "host_os": system.encode(),
                "host_build": b"null" if build is None else str(build).encode(),
                "host_version": escape(version),
                "host_group": escape(group),
                "host_group_or_null": _json(group or None),
                # Larger than any 64 bit integer on some machines: a reader must not pass it through a float.
                "host_group_id": str(number % 100 if index % 4 else 2**63 + number * 10_000_000_001).encode(),
                "host_ip": b"10.%d.%d.%d" % (index, number >> 8 & 255, 1 + number % 250),
                "host_ip6": b"fe80::%x:%x" % (number >> 8 & 0xFFFF, number & 0xFFFF),
                "host_external_ip": b"203.0.113.%d" % (1 + number % 250),
                "host_mac": b"0022%08x" % (number * 257),
                "host_risk": (b"none", b"low", b"medium", b"high")[number % 4],
                "host_health": b"active" if index % 5 else b"noSensorData",
            }
        )
    return found


def people_values(tenant_id: str, domain: str) -> list[Values]:
    found = []
    for index, (account, display, ascii_only) in enumerate(_PEOPLE):
        digest = _digest(tenant_id, account)
        local = account in ("SYSTEM", "root")
        upn = None if local else f"{account}@{domain}"
        found.append(
            {
                "user_name": escape(account, ascii_only),
                "user_domain": b"NT AUTHORITY" if account == "SYSTEM" else escape(domain.split(".")[0].upper()),
                "user_display": _json(display or None, ascii_only),
                "user_sid": b"S-1-5-18" if local else b"S-1-5-21-%d-%d" % (int(digest[:8], 16), 1000 + index),
                "user_aad": b"null" if local else _json(str(uuid.UUID(digest[:32]))),
                "user_upn": _json(upn, ascii_only),
                "analyst": b"null" if index % 3 else _json(upn or f"soc@{domain}", ascii_only),
            }
        )
    return found
