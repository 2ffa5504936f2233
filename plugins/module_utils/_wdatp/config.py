# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From options to connections: whose identity, which API, where, how. Validates without touching the network.

Order of precedence: what the caller gave, what the stored credential says, the environment, the default.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from .clouds import CLOUDS, DEFAULT_API, DEFAULT_CLOUD, check_cloud, known_host, refuse_china, serves
from .credentials import Credential, CredentialStore, check_client_id, check_tenant_id, listing, same_text
from .errors import CredentialError, OptionError
from .options import (
    CONFIG_DIR,
    FEDERATED_TOKEN_FILE,
    IDENTITY,
    PATIENCE,
    REQUESTS_PER_MINUTE,
    SELECTION,
    TARGET,
    Option,
)
from .redact import without_login
from .secrets import GivenSecret, SecretSource

_IDENTITY_NAMES = tuple(option.name for option in IDENTITY)
# The options by which `auth_method: auto` tells the ways apart.
_DECIDING = ("client_secret", "client_certificate_path", "federated_token_file")
# What the environment may say also where a stored credential is used.
_ELSEWHERE = (*TARGET, *SELECTION, REQUESTS_PER_MINUTE)
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::\d{1,5})?", re.ASCII)
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


@dataclass(frozen=True)
class HttpOptions:
    """How to talk. `timeout` in seconds, for connecting and for each read; `retries` after the first try;
    `requests_per_minute`: None where the API's own limit counts."""

    ca_path: str | None = None
    validate_certs: bool = True
    # May hold a password.
    proxy: str | None = field(default=None, repr=False)
    timeout: int = 30
    retries: int = 5
    requests_per_minute: int | None = None
    # The certificate to show: one PEM file with its key, or one for each.
    client_certificate: str | tuple[str, str] | None = None
    # No proxy at all, whatever the environment says.
    is_direct: bool = False


@dataclass(frozen=True)
class Identity:
    """Who asks, in which tenant. `client_id` is empty where only the secret's source knows it: see `client`."""

    tenant_id: str
    client_id: str
    method: str
    secret: SecretSource | None = None
    certificate_path: str | None = None
    certificate_password: SecretSource | None = None
    federated_token_file: str | None = None

    def client(self) -> str:
        """The client ID as it is given, else as the secret's source knows it. WdatpError where that can't be asked."""
        return self.client_id or (self.secret.client_id() if self.secret else "")


@dataclass(frozen=True)
class Target:
    """What is asked. `api_url` and `authority_url` without a path; `scope` of the token."""

    api: str
    cloud: str
    api_url: str
    authority_url: str
    scope: str
    # The API's host is one of Microsoft's, so Microsoft's documented limits hold.
    is_microsoft: bool = True

    @property
    def host(self) -> str:
        return urlsplit(self.api_url).netloc


@dataclass(frozen=True)
class Connection:
    """Everything that one tenant and one API need."""

    identity: Identity
    target: Target
    http: HttpOptions
    credential: str | None = None
    organization: str | None = None


def resolve(options: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> list[Connection]:
    """One connection for each tenant that the options mean.

    `options`: values by option name, None where not given. `environ`: defaults to this process's environment.
    OptionError or CredentialError, with what to change.
    """
    env = os.environ if environ is None else environ
    given = {name: value for name, value in options.items() if value is not None and value != ""}
    stored = _stored_credential(given, env)
    if stored is None:
        chain: list[Mapping[str, Any]] = [given, from_environment(IDENTITY + _ELSEWHERE, env)]
        identities = [(_inline_identity(chain, _sought(given, env)), _first(chain, "organization"))]
    else:
        # The environment's identity would belong to somebody else.
        chain = [given, stored.settings(), from_environment(_ELSEWHERE, env)]
        identities = _stored_identities(stored, _first(chain, "organization"), env)
    target = _target(chain, given, stored)
    http = _http(chain, options)
    name = stored.name if stored else None
    return [Connection(identity, target, http, name, organization) for identity, organization in identities]


def resolve_one(options: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Connection:
    """As resolve, where one tenant is wanted; several are an error that lists them."""
    found = resolve(options, environ)
    if len(found) > 1:
        names = listing([f"{item.organization} ({item.identity.tenant_id})" for item in found])
        raise OptionError(
            f"The credential {found[0].credential} serves several tenants: {names}.",
            "Set organization to one of them.",
            code="option.ambiguous",
        )
    return found[0]


# --- whose identity -----------------------------------------------------------------------------------------------


def from_environment(options: tuple[Option, ...], env: Mapping[str, str]) -> dict[str, Any]:
    """What the environment says about these options, by name."""
    found: dict[str, Any] = {}
    for option in options:
        text = env.get(option.env, "") if option.env else ""
        if not text:
            continue
        if option.type == "bool":
            found[option.name] = _boolean(text, option.env)
        elif option.type == "int":
            found[option.name] = _whole_number(text, option.env)
        elif option.choices and text not in option.choices:
            if option.name == "cloud":
                refuse_china(text, option.env)
            raise OptionError(
                f"The environment variable {option.env} is {text!r}.", f"Set it to one of {', '.join(option.choices)}."
            )
        else:
            found[option.name] = text
    return found


def _boolean(text: str, name: str) -> bool:
    word = text.strip().lower()
    if word not in _TRUE + _FALSE:
        raise OptionError(f"The environment variable {name} is {text!r}.", "Set it to true or false.")
    return word in _TRUE


def _whole_number(text: str, name: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise OptionError(f"The environment variable {name} is {text!r}.", "Set it to a whole number.") from None


def _first(chain: list[Mapping[str, Any]], name: str) -> Any:
    return next((values[name] for values in chain if values.get(name) is not None), None)


def _stored_credential(given: Mapping[str, Any], env: Mapping[str, str]) -> Credential | None:
    """The stored credential that is meant: by name, else by host or organization, unless an identity is inline."""
    inline = [name for name in _IDENTITY_NAMES if name in given]
    store = CredentialStore(given.get("config_dir") or env.get(CONFIG_DIR.env) or CONFIG_DIR.default)
    name = given.get("credential")
    if name:
        if inline:
            raise OptionError(
                f"credential is given together with {', '.join(inline)}.",
                "Give either the name of a stored credential or the identity itself, not both.",
                code="option.conflict",
            )
        return store.load(name)
    if inline:
        return None
    host, organization = _wanted(given, env)
    if not host and not organization:
        return None
    try:
        found = store.find(host, organization)
    except CredentialError:
        if env.get("WDATP_TENANT_ID"):
            # An account that may not read the store can still work with the environment's identity.
            return None
        raise
    if len(found) > 1:
        what = f"host {host}" if host else f"organization {organization}"
        raise OptionError(
            f"Several stored credentials fit the {what}: " + "; ".join(item.label() for item in found) + ".",
            "Name one with credential" + (", or set organization." if host and not organization else "."),
            code="option.ambiguous",
        )
    return found[0] if found else None


def _wanted(given: Mapping[str, Any], env: Mapping[str, str]) -> tuple[str | None, str | None]:
    """The host and the organization by which a stored credential is looked for."""
    host = given.get("host") or env.get("WDATP_HOST")
    return host or None, given.get("organization") or env.get("WDATP_ORGANIZATION") or None


def _sought(given: Mapping[str, Any], env: Mapping[str, str]) -> str:
    """What no stored credential fits, for a message; empty where none was looked for."""
    host, organization = _wanted(given, env)
    return " and ".join(
        f"the {name} {value}" for name, value in (("host", host), ("organization", organization)) if value
    )


def _stored_identities(
    stored: Credential, organization: str | None, env: Mapping[str, str]
) -> list[tuple[Identity, str | None]]:
    method = method_of(stored.auth_method, stored.settings())
    identity = Identity(
        tenant_id="",
        client_id=stored.client_id or "",
        method=method,
        secret=stored.secret_source() if method == "client_secret" else None,
        certificate_path=stored.client_certificate_path,
        certificate_password=stored.certificate_password_source(),
        federated_token_file=stored.federated_token_file or env.get(FEDERATED_TOKEN_FILE.env) or None,
    )
    tenants = stored.tenants_for(organization)
    return [(replace(identity, tenant_id=tenant_id), name) for tenant_id, name in tenants]


def method_of(wanted: str | None, has: Mapping[str, Any]) -> str:
    """The way to authenticate: as wanted, else by what there is."""
    if wanted and wanted != "auto":
        return wanted
    if has.get("client_certificate_path"):
        return "certificate"
    if has.get("client_secret") or not has.get("federated_token_file"):
        return "client_secret"
    return "workload_identity"


def _inline_identity(chain: list[Mapping[str, Any]], sought: str) -> Identity:
    values = {name: _first(chain, name) for name in _IDENTITY_NAMES}
    # What was given decides; the environment only where nothing that could decide was given.
    deciding = next((level for level in chain if any(level.get(name) for name in _DECIDING)), {})
    method = method_of(values["auth_method"], deciding)
    needed = {
        "client_secret": ("tenant_id", "client_id", "client_secret"),
        "certificate": ("tenant_id", "client_id", "client_certificate_path"),
        "managed_identity": ("tenant_id",),
        "workload_identity": ("tenant_id", "client_id", "federated_token_file"),
    }[method]
    missing = [name for name in needed if not values[name]]
    if missing:
        names = {option.name: option.env for option in IDENTITY}
        raise OptionError(
            f"No identity: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
            + (f", and no stored credential fits {sought}." if sought else "."),
            "Name a stored credential with credential, or give "
            + ", ".join(f"{name} (or {names[name]} in the environment)" for name in missing)
            + ".",
            code="option.missing",
        )
    check_tenant_id(values["tenant_id"])
    if values["client_id"]:
        check_client_id(values["client_id"])
    secret, password = values["client_secret"], values["client_certificate_password"]
    return Identity(
        tenant_id=values["tenant_id"],
        client_id=values["client_id"] or "",
        method=method,
        secret=GivenSecret(secret) if secret and method == "client_secret" else None,
        certificate_path=values["client_certificate_path"],
        certificate_password=GivenSecret(password) if password else None,
        federated_token_file=values["federated_token_file"],
    )


# --- what is asked, and where -------------------------------------------------------------------------------------


def _target(chain: list[Mapping[str, Any]], given: Mapping[str, Any], stored: Credential | None) -> Target:
    cloud_name, api = _first(chain, "cloud"), _first(chain, "api")
    host = given.get("host") or _environment_host(chain[-1].get("host"), stored)
    if host:
        host = check_host(host)
        known = known_host(host)
        # A host in the play outweighs an API that only the stored credential or the environment names.
        if known and "api" not in given and not (api and serves(host, api)):
            api = known[0]
    elif stored is not None and stored.hosts:
        host, api = _associated_host(stored.hosts, api)
    api = api or DEFAULT_API
    if host:
        cloud_name = _cloud_of(host, api, cloud_name)
    cloud = check_cloud(cloud_name or DEFAULT_CLOUD)
    api_url, authority_url = _first(chain, "api_url"), _first(chain, "authority_url")
    base = check_url(api_url, "api_url") if api_url else f"https://{host or cloud.hosts[api]}"
    return Target(
        api=api,
        cloud=cloud.name,
        api_url=base,
        authority_url=check_url(authority_url, "authority_url") if authority_url else cloud.authority,
        scope=_first(chain, "scope") or cloud.scopes[api],
        is_microsoft=known_host(urlsplit(base).netloc) is not None,
    )


def _environment_host(host: str | None, stored: Credential | None) -> str | None:
    """The environment's host, unless it is none of those that the stored credential is associated with."""
    if host and stored and stored.hosts and not any(same_text(host, name) for name in stored.hosts):
        return None
    return host


def _associated_host(hosts: tuple[str, ...], api: str | None) -> tuple[str | None, str | None]:
    """The host to ask, of those associated with a credential, and the API, which it decides where nothing else does."""
    fitting = next((host for host in hosts if serves(host, api or DEFAULT_API)), None)
    if fitting or api:
        return fitting, api
    known = known_host(hosts[0])
    return hosts[0], known[0] if known else None


def _cloud_of(host: str, api: str, wanted: str | None) -> str | None:
    """The cloud that a known host belongs to. OptionError where host, API and cloud contradict each other."""
    known = known_host(host)
    if known is None:
        return wanted
    if not serves(host, api):
        raise OptionError(
            f"The host {host} serves the API {known[0]}, not {api}.",
            f"Leave api out or set it to {known[0]}, or name a host of {api}.",
            code="option.conflict",
        )
    if wanted is not None and wanted not in known[1]:
        raise OptionError(
            f"The host {host} belongs to the cloud {' or '.join(known[1])}, not to {wanted}.",
            f"Set cloud to {known[1][0]}, or use the host {CLOUDS[wanted].hosts[api]}."
            if wanted in CLOUDS
            else f"Set cloud to {known[1][0]}.",
            code="option.conflict",
        )
    return wanted or known[1][0]


def check_host(text: str) -> str:
    """A host name, perhaps with a port. OptionError where it is something else, such as a URL."""
    if not _HOST.fullmatch(text) or not 0 < int(text.partition(":")[2] or 443) < 65536:
        raise OptionError(
            f"host: {text!r} is not a host name.",
            "Write only the name, such as graph.microsoft.com, without https:// and without a path.",
        )
    return text


def check_url(text: str, option: str) -> str:
    """An https address without a path. OptionError where it is something else."""
    parts = urlsplit(text)
    try:
        port_ok = parts.port is None or 0 < parts.port < 65536
    except ValueError:
        port_ok = False
    has_more = "@" in parts.netloc or parts.query or parts.fragment
    if parts.scheme != "https" or not parts.hostname or not port_ok or has_more:
        raise OptionError(
            f"{option}: {without_login(text)!r} is not an https address.", "Write https://, a host and at most a port."
        )
    if parts.path.strip("/"):
        raise OptionError(
            f"{option}: {text!r} has the path {parts.path}.",
            f"Write only https://{parts.netloc}; the rest is added.",
        )
    return f"https://{parts.netloc}"


def check_definition(stored: Credential) -> None:
    """OptionError where a credential's own settings contradict each other or make no sense."""
    check_proxy(stored.proxy)
    for host in stored.hosts:
        known_host(check_host(host))
    # The proxy's password, which settings() would read, may not be stored yet.
    _target([{}, replace(stored, proxy=None).settings(), {}], {}, stored)


# --- how ----------------------------------------------------------------------------------------------------------


def _http(chain: list[Mapping[str, Any]], options: Mapping[str, Any]) -> HttpOptions:
    numbers = {}
    for option in PATIENCE:
        value = options.get(option.name)
        numbers[option.name] = option.default if value is None else value
    if numbers["timeout"] < 1:
        raise OptionError(f"timeout: {numbers['timeout']} is too small.", "Give at least 1 second.")
    if numbers["retries"] < 0:
        raise OptionError(f"retries: {numbers['retries']} is negative.", "Give 0 or more.")
    per_minute = _first(chain, REQUESTS_PER_MINUTE.name)
    if per_minute is not None and per_minute < 1:
        raise OptionError(
            f"requests_per_minute: {per_minute} is too small.",
            "Give at least 1, or leave it out for the API's own limit.",
        )
    ca_path = _first(chain, "ca_path")
    if ca_path and not os.path.exists(ca_path):
        raise OptionError(
            f"ca_path: {ca_path} does not exist on the host where this runs.",
            "Give the path of a PEM file with the CA certificates to trust, on that host.",
        )
    validate = _first(chain, "validate_certs")
    return HttpOptions(
        ca_path=ca_path,
        validate_certs=True if validate is None else bool(validate),
        proxy=check_proxy(_first(chain, "proxy")),
        timeout=numbers["timeout"],
        retries=numbers["retries"],
        requests_per_minute=per_minute,
    )


def check_proxy(text: str | None) -> str | None:
    """http://host:port, also with a user. OptionError (without the address, which may hold a password) otherwise."""
    if not text:
        return None
    url = text if "://" in text else f"http://{text}"
    parts = urlsplit(url)
    try:
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        good = False
    if not good:
        raise OptionError(
            "proxy: the address is not usable.", "Write http://host:port, or http://user:password@host:port."
        )
    return url
