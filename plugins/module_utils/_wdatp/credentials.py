# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stored credentials: definitions under `config_dir`, their secrets apart from them in files of mode 0600.

    <config_dir>/credentials/<name>.json    the definition, without any secret (0640)
    <config_dir>/secrets/<name>.secret      the secrets that were given, if any (0600, the directory 0700)
    <config_dir>/secrets/<name>.cred        the same in place of it, encrypted with the host's key (see sealing.py)

Inside a unit of systemd, a credential <name>.secret that the unit loads comes before both (systemd.exec(5),
LoadCredential= and LoadCredentialEncrypted=): so the service's own user needs no right to read the store's secrets.

New files and directories belong to the owner of the directory that they are made in, so that an account without
privileges can use what root defines for it. What wdatp_credential makes of its options is in definitions.py.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from .cyberark import Account, CcpSecret, account_of
from .errors import CredentialError, OptionError
from .files import make_directory, mode_of, put_in_place, remove_file
from .namedfiles import NAME_RULE, Errors, NamedFiles, is_name
from .sealing import seal, unseal
from .secrets import EnvironmentSecret, FileSecret, SecretSource

# The version of the definition's form; a definition with a higher one is from a newer collection. What has no part in
# it that is new is written in the form before, which older ones read, too.
SCHEMA, _BEFORE_CYBERARK = 2, 1
# The names under which the secrets' file keeps what was given.
CLIENT_SECRET, CERTIFICATE_PASSWORD, PROXY_PASSWORD = "client_secret", "client_certificate_password", "proxy_password"

_GUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
_DOMAIN = re.compile(r"(?=.{4,253}\Z)(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}", re.ASCII)


def check_name(text: str, option: str = "name") -> str:
    """The name of a stored credential becomes a file name. OptionError where it can't."""
    if not is_name(text):
        raise OptionError(
            f"{option}: {text!r} can't be a credential's name.",
            NAME_RULE,
        )
    return text


def is_guid(text: str) -> bool:
    return _GUID.fullmatch(text) is not None


def check_tenant_id(text: str) -> str:
    """A tenant's GUID or one of its domain names, as Entra ID takes both."""
    if not _GUID.fullmatch(text) and not _DOMAIN.fullmatch(text):
        raise OptionError(
            f"tenant_id: {text!r} is neither a GUID nor a domain name.",
            "Copy the Directory (tenant) ID from the app registration's overview page in the Entra admin center.",
        )
    return text


def check_client_id(text: str) -> str:
    """An application's GUID."""
    if not _GUID.fullmatch(text):
        raise OptionError(
            f"client_id: {text!r} is not a GUID.",
            "Copy the Application (client) ID from the app registration's overview page in the Entra admin center.",
        )
    return text


@dataclass(frozen=True)
class Tenant:
    tenant_id: str
    organization: str


@dataclass(frozen=True)
class Credential:
    """A definition as it is stored; no secret is in it, only the names of those that are kept for it."""

    name: str
    description: str | None = None
    auth_method: str | None = None
    tenant_id: str | None = None
    organization: str | None = None
    tenants: tuple[Tenant, ...] = ()
    client_id: str | None = None
    hosts: tuple[str, ...] = ()
    client_certificate_path: str | None = None
    federated_token_file: str | None = None
    client_secret_file: str | None = None
    cyberark: Account | None = None
    cloud: str | None = None
    api: str | None = None
    api_url: str | None = None
    authority_url: str | None = None
    scope: str | None = None
    ca_path: str | None = None
    validate_certs: bool | None = None
    # Without its password, which is one of the secrets.
    proxy: str | None = None
    secrets: tuple[str, ...] = ()
    # Where those are.
    secrets_path: str = field(default="", repr=False, compare=False)

    def settings(self) -> dict[str, Any]:
        """What this credential says about its use, by option name. Reads the proxy's password where there is one."""
        values: dict[str, Any] = {name: getattr(self, name) for name in _SETTINGS}
        if self.proxy and PROXY_PASSWORD in self.secrets:
            values["proxy"] = join_proxy(self.proxy, self._stored(PROXY_PASSWORD).read())
        return values

    def secret_source(self) -> SecretSource:
        """The client secret; the environment's where none was given."""
        if self.cyberark:
            return CcpSecret(self.cyberark)
        if self.client_secret_file:
            return FileSecret(self.client_secret_file)
        if CLIENT_SECRET in self.secrets:
            return self._stored(CLIENT_SECRET)
        return EnvironmentSecret("WDATP_CLIENT_SECRET")

    def certificate_password_source(self) -> SecretSource | None:
        """The private key's password; None for a key that has none."""
        if CERTIFICATE_PASSWORD in self.secrets:
            return self._stored(CERTIFICATE_PASSWORD)
        name = "WDATP_CLIENT_CERTIFICATE_PASSWORD"
        return EnvironmentSecret(name) if os.environ.get(name) else None

    def _stored(self, kind: str) -> StoredSecret:
        return StoredSecret(self.secrets_path, kind, self.name)

    def served(self) -> list[tuple[str, str | None]]:
        """(tenant, organization) of all customers whom this credential serves."""
        if self.tenants:
            return [(tenant.tenant_id, tenant.organization) for tenant in self.tenants]
        return [(self.tenant_id or "", self.organization)]

    def serves(self, organization: str) -> bool:
        return any(same_text(organization, name) for _tenant_id, name in self.served())

    def tenants_for(self, organization: str | None) -> list[tuple[str, str | None]]:
        """(tenant, organization) of the one that is meant, of all where none is."""
        served = self.served()
        if organization is None:
            return served
        found = [(tenant_id, name) for tenant_id, name in served if same_text(organization, name)]
        if not found:
            names = [name for _tenant_id, name in served if name]
            raise OptionError(
                f"The credential {self.name} has no organization {organization!r}"
                + (f"; it has {listing(names)}." if names else ": its definition names none."),
                "Set organization to one of them."
                if names
                else "Leave organization out, or set it in the credential's definition (wdatp_credential).",
                code="credential.organization",
            )
        return found

    def label(self) -> str:
        """The name with the organizations, for messages."""
        names = [name for _tenant_id, name in self.served() if name]
        if not names:
            return self.name
        return f"{self.name} (organization {listing(names)})"

    def describe(self, storage: str | None = None) -> dict[str, Any]:
        """The form in which results show a credential. `storage`: how its secrets are, or will be, kept."""
        storage = storage or storage_of(self.secrets_path)
        shown = {name: getattr(self, name) for name in ("name", *_TEXTS, "validate_certs")}
        return {
            **shown,
            "cyberark": self.cyberark.to_dict() if self.cyberark else None,
            "tenants": [{"tenant_id": item.tenant_id, "organization": item.organization} for item in self.tenants],
            "hosts": list(self.hosts),
            "secret": self._secret(storage),
            "certificate_password": self._kept(CERTIFICATE_PASSWORD, storage),
            "proxy_password": self._kept(PROXY_PASSWORD, storage),
        }

    def _secret(self, storage: str) -> str:
        if self.cyberark:
            return "cyberark"
        return "client_secret_file" if self.client_secret_file else self._kept(CLIENT_SECRET, storage)

    def _kept(self, kind: str, storage: str) -> str:
        return storage if kind in self.secrets else "none"


_TEXTS = (
    "description",
    "auth_method",
    "tenant_id",
    "organization",
    "client_id",
    "client_certificate_path",
    "federated_token_file",
    "client_secret_file",
    "cloud",
    "api",
    "api_url",
    "authority_url",
    "scope",
    "ca_path",
    "proxy",
)
_SETTINGS = (
    *_TEXTS[_TEXTS.index("cloud") :],
    "validate_certs",
    "organization",
    "client_certificate_path",
    "federated_token_file",
)
# Longer lists of names help nobody in a message.
_LISTED = 20


def listing(names: Sequence[str]) -> str:
    """Names for a message."""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def same_text(left: str, right: str | None) -> bool:
    """Whether two names of hosts or organizations mean the same one."""
    return right is not None and left.strip().casefold() == right.strip().casefold()


def split_proxy(url: str) -> tuple[str, str | None]:
    """(address without password, the password as it is written there)."""
    parts = urlsplit(url)
    if parts.password is None:
        return url, None
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username}@{place}")), parts.password


def join_proxy(url: str, password: str) -> str:
    parts = urlsplit(url)
    user, _at, place = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user}:{password}@{place}"))


class StoredSecret(SecretSource):
    """One of the secrets of a stored credential."""

    def __init__(self, path: str, kind: str, credential: str) -> None:
        self.path = path
        self._kind = kind
        self._credential = credential

    def read(self) -> str:
        secret = read_secrets(self.path).get(self._kind)
        if secret is None:
            raise CredentialError(
                f"The file {self.path} does not hold the {self._kind} of the credential {self._credential}.",
                f"Give it again with wdatp_credential: name {self._credential}, {self._kind}.",
                code="credential.secret_missing",
            )
        return secret

    def describe(self) -> str:
        return f"the credential store, file {_where_secrets_are(self.path)}"


def is_sealed(source: SecretSource | None) -> bool:
    """Whether a secret is kept encrypted with this host's key."""
    return isinstance(source, StoredSecret) and storage_of(source.path) == SYSTEMD_CREDS


FILE, SYSTEMD_CREDS = "file", "systemd_creds"


def storage_of(path: str) -> str:
    """How the secrets of this path are kept: `file`, `systemd_creds`; `none` where none are."""
    if os.path.lexists(_sealed(path)):
        return SYSTEMD_CREDS
    return FILE if os.path.lexists(path) else "none"


def _sealed(path: str) -> str:
    return f"{os.path.splitext(path)[0]}.cred"


def _where_secrets_are(path: str) -> str:
    """The file that is read: the unit's own credential, else the sealed one, else the plain one."""
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    loaded = os.path.join(directory, os.path.basename(path)) if directory else ""
    if loaded and os.path.exists(loaded):
        return loaded
    return _sealed(path) if storage_of(path) == SYSTEMD_CREDS else path


def read_secrets(path: str) -> dict[str, str]:
    """All secrets of a stored credential by kind; none where the file is missing. `path`: where they are unsealed."""
    name, path = os.path.basename(path), _where_secrets_are(path)
    try:
        if path.endswith(".cred"):
            text = unseal(name, path)
        else:
            with open(path, encoding="utf-8") as stream:
                text = stream.read()
        values = json.loads(text)
        good = isinstance(values, dict) and all(isinstance(value, str) for value in values.values())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise CredentialError(
            f"The secrets' file {path} can't be read: {error.strerror}.",
            "Run this as the user who owns the file, or as root (become: true).",
            code="credential.denied",
        ) from None
    except ValueError:
        # The decoder's error would hold the text.
        good = False
    if not good:
        raise CredentialError(
            f"The secrets' file {path} is broken.",
            "Remove it and give the secret again with wdatp_credential.",
            code="credential.broken",
        )
    return dict(values)


class CredentialStore:
    """The credentials under one `config_dir`. Nothing is made there before the first save."""

    def __init__(self, config_dir: str) -> None:
        self._definitions = NamedFiles(config_dir, "credentials", SCHEMA, _ERRORS)
        self.config_dir = self._definitions.config_dir
        self._secrets = os.path.join(self.config_dir, "secrets")

    def definition_path(self, name: str) -> str:
        return self._definitions.path(name)

    def secrets_path(self, name: str) -> str:
        return os.path.join(self._secrets, f"{name}.secret")

    # --- reading

    def load(self, name: str) -> Credential:
        """CredentialError where there is none of this name; it lists those that are there."""
        found = self.get(check_name(name, "credential"))
        if found is not None:
            return found
        names = self.names()
        raise CredentialError(
            f"There is no stored credential {name!r} under {self.config_dir}"
            + (f"; there are {listing(names)}." if names else ": the store is empty."),
            "Name one of them, or define it with the module secops.defender.wdatp_credential"
            " (on this host, as a user who may write there). config_dir says where the store is.",
            code="credential.unknown",
        )

    def get(self, name: str) -> Credential | None:
        values = self._definitions.read(name)
        if values is None:
            return None
        return replace(_parse(name, values, self.definition_path(name)), secrets_path=self.secrets_path(name))

    def names(self) -> list[str]:
        return self._definitions.names()

    def all(self) -> list[Credential]:
        loaded = (self.get(name) for name in self.names())
        return [item for item in loaded if item is not None]

    def find(
        self, host: str | None = None, organization: str | None = None, name: str | None = None
    ) -> list[Credential]:
        """Those that are associated with the host, serve the organization and have the name; None or "" fits all."""
        named = self.get(check_name(name)) if name else None
        candidates = self.all() if not name else [named] if named else []
        return [
            item
            for item in candidates
            if (not host or any(same_text(host, known) for known in item.hosts))
            and (not organization or item.serves(organization))
        ]

    def is_private(self, name: str) -> bool:
        """Whether nobody but their owner can read the secrets; True where there are none."""
        path = self.secrets_path(name)
        modes = [mode_of(file) for file in (path, _sealed(path)) if os.path.exists(file)]
        return not modes or not (mode_of(self._secrets) | max(modes)) & 0o077

    # --- writing

    def save(self, credential: Credential, secrets: Mapping[str, str], storage: str = FILE) -> None:
        """Store a definition and all its secrets, in place of what was there of this name."""
        path = self.secrets_path(credential.name)
        text = json.dumps(dict(secrets))
        # Before anything is touched: this host may not be able to.
        sealed = seal(os.path.basename(path), text) if secrets and storage == SYSTEMD_CREDS else None
        with self._definitions.writing():
            self._definitions.make()
            # A definition never speaks of secrets that are not there yet.
            if secrets:
                make_directory(self._secrets, 0o700, enforce=True)
                put_in_place(*((path, text) if sealed is None else (_sealed(path), sealed)), 0o600)
            schema = SCHEMA if credential.cyberark else _BEFORE_CYBERARK
            self._definitions.write(credential.name, schema, _format(credential))
            # The sealed one is read first: it goes last where the plain one is new.
            if not secrets or sealed is not None:
                remove_file(path)
            if not secrets or sealed is None:
                remove_file(_sealed(path))

    def belongs_to_root(self) -> bool:
        """Whether what is stored here is root's; in a directory of somebody else, that one has to be able to use it."""
        place = self.config_dir
        while not os.path.lexists(place):
            place = os.path.dirname(place)
        return os.stat(place).st_uid == 0

    def check_writable(self) -> None:
        """CredentialError where a save could only fail, without trying it."""
        for place in (self._definitions.directory, self._secrets):
            while not os.path.lexists(place):
                place = os.path.dirname(place)
            code = errno.EACCES if os.path.isdir(place) else errno.ENOTDIR
            if code == errno.ENOTDIR or not os.access(place, os.W_OK | os.X_OK):
                raise _denied(place, OSError(code, os.strerror(code)), "written")

    def remove(self, name: str) -> None:
        """Remove all that is stored under this name."""
        with self._definitions.writing():
            self._definitions.remove(name)
            remove_file(self.secrets_path(name))
            remove_file(_sealed(self.secrets_path(name)))

    def has_traces(self, name: str) -> bool:
        """Whether anything, also something broken, is stored under this name."""
        return self._definitions.has(name) or storage_of(self.secrets_path(name)) != "none"


# --- the definition's form ----------------------------------------------------------------------------------------


def _format(credential: Credential) -> dict[str, Any]:
    values: dict[str, Any] = {name: getattr(credential, name) for name in (*_TEXTS, "validate_certs")}
    values["tenants"] = [
        {"tenant_id": item.tenant_id, "organization": item.organization} for item in credential.tenants
    ]
    if credential.cyberark:
        given = credential.cyberark.to_dict()
        values["cyberark"] = {name: value for name, value in given.items() if value is not None}
    values["hosts"] = list(credential.hosts)
    values["secrets"] = list(credential.secrets)
    return {name: value for name, value in values.items() if value is not None and value != []}


def _parse(name: str, values: Mapping[str, Any], path: str) -> Credential:
    try:
        if values.get("tenant_id") is not None:
            check_tenant_id(str(values["tenant_id"]))
        cyberark = _typed(values, "cyberark", dict)
        return Credential(
            name=name,
            validate_certs=_typed(values, "validate_certs", bool),
            tenants=tuple(
                Tenant(check_tenant_id(item["tenant_id"]), str(item["organization"]))
                for item in _typed(values, "tenants", list) or ()
            ),
            cyberark=account_of(cyberark) if cyberark is not None else None,
            hosts=_names(values, "hosts"),
            secrets=_names(values, "secrets"),
            **{key: _typed(values, key, str) for key in _TEXTS},
        )
    except (KeyError, TypeError) as error:
        raise _broken(path, f"{error} is missing or of the wrong type") from None
    except OptionError as error:
        raise _broken(path, error.message) from None


def _typed(values: Mapping[str, Any], key: str, kind: type) -> Any:
    value = values.get(key)
    if value is not None and not isinstance(value, kind):
        raise TypeError(key)
    return value


def _names(values: Mapping[str, Any], key: str) -> tuple[str, ...]:
    names = _typed(values, key, list) or []
    if not all(isinstance(name, str) for name in names):
        raise TypeError(key)
    return tuple(names)


def _broken(path: str, why: str) -> CredentialError:
    return CredentialError(
        f"The credential {path} is broken: {why}.",
        "Define it again with the module secops.defender.wdatp_credential, or remove the file.",
        code="credential.broken",
    )


def _denied(path: str, error: OSError, doing: str) -> CredentialError:
    return CredentialError(
        f"The credential store {path} can't be {doing}: {error.strerror}.",
        "Run this as a user who may (become: true for /etc/wdatp), or set config_dir to a directory of your own.",
        code="credential.denied",
    )


def _newer(path: str, form: int, known: int) -> CredentialError:
    return CredentialError(
        f"The credential {path} was written by a newer version of this collection (form {form}, here {known}).",
        "Use that version on this host too, or remove the credential and define it again.",
        code="credential.newer",
    )


_ERRORS = Errors(_denied, _broken, _newer)
