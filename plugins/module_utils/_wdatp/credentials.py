# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stored credentials: definitions under `config_dir`, their secrets apart from them in files of mode 0600."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from .errors import CredentialError, OptionError
from .secrets import EnvironmentSecret, FileSecret, SecretSource

_GUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
_DOMAIN = re.compile(r"(?=.{4,253}\Z)(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?", re.ASCII)
SCHEMA = 1


def check_name(text: str, option: str = "name") -> str:
    """The name of a stored credential becomes a file name. OptionError where it can't."""
    if not _NAME.fullmatch(text):
        raise OptionError(
            f"{option}: {text!r} can't be a credential's name.",
            "Use letters, digits, dots, hyphens and underscores, at most 64, beginning and ending with a letter or digit.",
        )
    return text


def check_tenant_id(text: str) -> str:
    """A tenant's GUID or one of its domain names, as Entra ID takes both."""
    if not _GUID.fullmatch(text) and not _DOMAIN.fullmatch(text):
        raise OptionError(
            f"tenant_id: {text!r} is neither a GUID nor a domain name.",
            "Copy the Directory (tenant) ID from the overview page of the app registration in the Entra admin center.",
        )
    return text


def check_client_id(text: str) -> str:
    """An application's GUID."""
    if not _GUID.fullmatch(text):
        raise OptionError(
            f"client_id: {text!r} is not a GUID.",
            "Copy the Application (client) ID from the overview page of the app registration in the Entra admin center.",
        )
    return text


@dataclass(frozen=True)
class Tenant:
    tenant_id: str
    organization: str


@dataclass(frozen=True)
class Credential:
    """A definition as it is stored; no secret is in it."""

    name: str
    description: str | None = None
    auth_method: str | None = None
    tenant_id: str | None = None
    organization: str | None = None
    tenants: tuple[Tenant, ...] = ()
    client_id: str | None = None
    hosts: tuple[str, ...] = ()
