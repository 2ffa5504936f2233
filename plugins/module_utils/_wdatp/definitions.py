# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What wdatp_credential does: from options to a stored credential, truthfully told, predicted in check mode."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .config import check_definition, check_proxy, from_environment, method_of
from .credentials import (
    CERTIFICATE_PASSWORD,
    CLIENT_SECRET,
    FILE,
    PROXY_PASSWORD,
    SYSTEMD_CREDS,
    Credential,
    CredentialStore,
    Tenant,
    check_client_id,
    check_name,
    check_tenant_id,
    is_guid,
    read_secrets,
    same_text,
    split_proxy,
    storage_of,
)
from .cyberark import account_of
from .details import read_details
from .errors import CredentialError, JobError, OptionError
from .jobs import jobs_naming
from .options import IDENTITY, TARGET
from .sealing import check_possible, is_natural

# What says how to authenticate: where one of these is given, the environment has no say in it.
_HOW = (
    "auth_method",
    "client_secret",
    "client_secret_file",
    "cyberark",
    "client_certificate_path",
    "federated_token_file",
)
# What a way to authenticate can't do without; a client secret may also come from the environment when it is used.
_NEEDED = {
    "client_secret": ("client_id",),
    "certificate": ("client_id", "client_certificate_path"),
    "managed_identity": (),
    "workload_identity": ("client_id",),
}
_OF_METHOD = {
    "client_secret": ("client_secret", "client_secret_file", "cyberark"),
    "certificate": ("client_certificate_path", "client_certificate_password"),
    "workload_identity": ("federated_token_file",),
}
_WHO = (*(option.name for option in IDENTITY), "client_secret_file", "cyberark")
_PATHS = ("client_secret_file", "client_certificate_path", "federated_token_file", "ca_path")


@dataclass(frozen=True)
class Outcome:
    """What was, or in check mode would be, done. No secret is in it; empty where there is nothing."""

    changed: bool
    path: str
    credential: dict[str, Any]
    # For people who want to see the difference.
    before: dict[str, Any]
    after: dict[str, Any]


def define(
    options: Mapping[str, Any],
    check: bool = False,
    notify: Callable[[str], None] = lambda text: None,
    environ: Mapping[str, str] | None = None,
) -> Outcome:
    """Make the store hold this credential, or with state absent nothing of it. `notify` gets warnings.

    OptionError for options without sense, CredentialError where the store can't be read or written.
    """
    env = os.environ if environ is None else environ
    given = {name: value for name, value in options.items() if value is not None and value not in ("", [])}
    if given.get("auth_method") == "auto":
        # It means what leaving it out means.
        del given["auth_method"]
    store = CredentialStore(given["config_dir"])
    name = check_name(given["name"])
    if given.get("state") == "absent":
        _warn_of_jobs(name, store, notify)
        return _forget(store, name, check)
    given = _with_details(given)
    wanted = _definition(name, given, env)
    before, kept = _stored(store, name, any(given.get(kind) for kind in (CLIENT_SECRET, CERTIFICATE_PASSWORD)))
    secrets = _secrets(wanted, given, kept, notify)
    path = store.secrets_path(name)
    wanted = replace(wanted, secrets=tuple(sorted(secrets)), secrets_path=path)
    storage = _storage(given, store) if secrets else "none"
    changed = wanted != before or secrets != kept or storage != storage_of(path) or not store.is_private(name)
    was = before.describe() if before else {}
    if changed and check:
        store.check_writable()
        if storage == SYSTEMD_CREDS:
            check_possible()
    elif changed:
        store.save(wanted, secrets, storage)
    shown = wanted.describe(storage)
    after = _mark_new_secrets(dict(shown), secrets, kept)
    return Outcome(changed, store.definition_path(name), shown, was, after)


def _storage(given: Mapping[str, Any], store: CredentialStore) -> str:
    """How secrets are kept: as asked for, else encrypted where that is natural and whoever pulls can decrypt it."""
    asked = given.get("secret_storage") or "auto"
    if asked != "auto":
        return str(asked)
    return SYSTEMD_CREDS if is_natural() and store.belongs_to_root() else FILE


def _with_details(given: dict[str, Any]) -> dict[str, Any]:
    """With what the portal's file says, where nothing else is given. Its secret is stored, the file not used again."""
    path = given.get("details_file")
    if not path:
        return given
    _refuse_both("details_file", [option for option in _HOW if option in given])
    found = read_details(path)
    values = {"client_id": found.client_id, "client_secret": found.client_secret}
    if found.tenant_id and "tenants" not in given:
        values["tenant_id"] = found.tenant_id
    hosts = {"hosts": [found.host]} if found.host else {}
    return {**hosts, **values, **given}


def _warn_of_jobs(name: str, store: CredentialStore, notify: Callable[[str], None]) -> None:
    try:
        jobs = jobs_naming(name, store.config_dir)
    except JobError as error:
        notify(f"Whether a job uses the credential {name} can't be told. {error}")
        return
    if jobs:
        notify(
            f"The credential {name} is used by the job {', '.join(jobs)}, whose runs will fail for it: define the job"
            " without it (wdatp_pull_job)."
        )


def _forget(store: CredentialStore, name: str, check: bool) -> Outcome:
    changed = store.has_traces(name)
    before, _kept = _stored(store, name, True) if changed else (None, {})
    if changed and not check:
        store.remove(name)
    return Outcome(changed, store.definition_path(name), {}, before.describe() if before else {}, {})


def _stored(store: CredentialStore, name: str, is_replaced: bool) -> tuple[Credential | None, dict[str, str]]:
    """Definition and secrets as they are. What is broken counts as not there: it is about to be replaced.

    `is_replaced`: so are secrets that can't be decrypted here (any more); else they are still wanted.
    """
    try:
        before = store.get(name)
    except CredentialError as error:
        if error.code != "credential.broken":
            raise
        before = None
    try:
        return before, read_secrets(store.secrets_path(name))
    except CredentialError as error:
        if error.code != "credential.broken" and not (is_replaced and error.code == "credential.sealing"):
            raise
        return before, {}


def _mark_new_secrets(after: dict[str, Any], secrets: Mapping[str, str], kept: Mapping[str, str]) -> dict[str, Any]:
    """A difference in secrets shows as such, not what it is."""
    shown = {CLIENT_SECRET: "secret", CERTIFICATE_PASSWORD: "certificate_password", PROXY_PASSWORD: "proxy_password"}
    for kind, key in shown.items():
        if kind in secrets and kind in kept and secrets[kind] != kept[kind]:
            after[key] += " (new value)"
    return after


# --- the definition -----------------------------------------------------------------------------------------------


def _definition(name: str, given: Mapping[str, Any], env: Mapping[str, str]) -> Credential:
    who = _identity(given, env)
    has_secret = who.get("client_secret") or who.get("client_secret_file") or "cyberark" in who
    method = method_of(who.get("auth_method"), {**who, "client_secret": has_secret})
    _check_identity(who, given, method)
    target: dict[str, Any] = {option.name: given.get(option.name) for option in TARGET}
    target["proxy"] = _proxy(given)[0]
    definition = Credential(
        name=name,
        description=given.get("description"),
        auth_method=method,
        tenant_id=who.get("tenant_id"),
        organization=_organization(given.get("organization")),
        tenants=_tenants(given.get("tenants") or []),
        client_id=who.get("client_id"),
        hosts=tuple(dict.fromkeys(given.get("hosts") or [])),
        client_certificate_path=who.get("client_certificate_path"),
        federated_token_file=who.get("federated_token_file"),
        client_secret_file=who.get("client_secret_file"),
        cyberark=account_of(who["cyberark"]) if "cyberark" in who else None,
        **target,
    )
    for option in _PATHS:
        _check_path(option, getattr(definition, option))
    check_definition(definition)
    return definition


def _identity(given: Mapping[str, Any], env: Mapping[str, str]) -> dict[str, Any]:
    """Who asks: as given, and what was left out as the environment says. Its secrets stay where they are."""
    who = from_environment(IDENTITY, env)
    if any(option in given for option in _HOW):
        who = {option: value for option, value in who.items() if option not in _HOW}
    if "tenants" in given:
        _refuse_both("tenants", [option for option in ("tenant_id", "organization") if option in given])
        who.pop("tenant_id", None)
    secrets = [option for option in _OF_METHOD["client_secret"] if option in given]
    if secrets:
        _refuse_both(secrets[0], secrets[1:])
    if "cyberark" in given:
        # Its account's user name goes with its password; the environment's client ID may be another app's.
        who.pop("client_id", None)
    who.update({option: given[option] for option in _WHO if option in given})
    return who


def _check_identity(who: Mapping[str, Any], given: Mapping[str, Any], method: str) -> None:
    if "tenants" not in given and not who.get("tenant_id"):
        raise _missing("tenant_id", "or tenants, for an app registration that serves several customers")
    for option in _NEEDED[method]:
        if not who.get(option) and not (option == "client_id" and "cyberark" in who):
            raise _missing(option, f"for auth_method {method}")
    for other, options in _OF_METHOD.items():
        for option in options:
            if option in given and other != method:
                raise OptionError(
                    f"{option} is given, but what is used to authenticate is {method}.",
                    f"Leave {option} out, or leave out what {method} needs, or set auth_method to {other}.",
                    code="option.conflict",
                )
    if who.get("tenant_id"):
        check_tenant_id(who["tenant_id"])
    if who.get("client_id"):
        check_client_id(who["client_id"])


def _missing(option: str, note: str) -> OptionError:
    name = next((item.env for item in IDENTITY if item.name == option), "")
    return OptionError(
        f"{option} is missing.",
        f"Give {option} ({note}), or set {name} in the environment of the host where this runs."
        " What is left out of a definition is not kept from before.",
        code="option.missing",
    )


def _refuse_both(option: str, others: list[str]) -> None:
    if others:
        raise OptionError(
            f"{option} is given together with {' and '.join(others)}.", "Give one of them.", code="option.conflict"
        )


def _organization(name: str | None) -> str | None:
    if name is not None and (not name.strip() or not name.isprintable()):
        raise OptionError(f"organization: {name!r} is not a name.", "Write a name of printable characters.")
    return name.strip() if name else None


def _tenants(entries: list[Mapping[str, Any]]) -> tuple[Tenant, ...]:
    tenants: list[Tenant] = []
    for entry in entries:
        tenant = Tenant(check_tenant_id(entry["tenant_id"]), _organization(entry["organization"]) or "")
        for other in tenants:
            for what, left, right in (
                ("organization", tenant.organization, other.organization),
                ("tenant_id", tenant.tenant_id, other.tenant_id),
            ):
                if same_text(left, right):
                    raise OptionError(f"tenants: the {what} {left} is there twice.", "Name each tenant once.")
        tenants.append(tenant)
    return tuple(tenants)


def _check_path(option: str, path: str | None) -> None:
    if path and not os.path.isabs(path):
        raise OptionError(
            f"{option}: {path} is not an absolute path.",
            "Write the whole path, beginning with /: whoever uses this credential may run in another directory.",
        )


# --- the secrets --------------------------------------------------------------------------------------------------


def _secrets(
    wanted: Credential, given: Mapping[str, Any], kept: Mapping[str, str], notify: Callable[[str], None]
) -> dict[str, str]:
    """All secrets that shall be kept: those given; of those left out, the ones kept so far that are still of use."""
    secrets: dict[str, str] = {}
    useful = []
    if wanted.auth_method == "client_secret" and not (wanted.client_secret_file or wanted.cyberark):
        useful.append(CLIENT_SECRET)
    if wanted.auth_method == "certificate":
        useful.append(CERTIFICATE_PASSWORD)
    keep_old = given.get("update_secret") == "on_create"
    for kind in useful:
        new, old = _clean(kind, given.get(kind)), kept.get(kind)
        secret = old or new if keep_old else new or old
        if secret:
            secrets[kind] = secret
    if is_guid(given.get(CLIENT_SECRET) or ""):
        notify("client_secret looks like the secret's ID. Entra ID wants its value, which it shows only once.")
    password = _proxy(given)[1]
    if password:
        secrets[PROXY_PASSWORD] = password
    return secrets


def _clean(kind: str, secret: str | None) -> str | None:
    """A secret without the line end that files and YAML blocks bring along."""
    text = secret.rstrip("\r\n") if secret else ""
    if "\n" in text or "\r" in text:
        raise OptionError(f"{kind}: it has several lines.", "Give the secret alone, on one line.")
    return text or None


def _proxy(given: Mapping[str, Any]) -> tuple[str | None, str | None]:
    url = check_proxy(given.get("proxy"))
    return split_proxy(url) if url else (None, None)
