# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tokens of Microsoft Entra ID: one class a method over MSAL, and a cache for the run.

MSAL talks through our own transport, so TLS, CA, proxy, retries and the User-Agent are the same for it, and so that
an error of the token endpoint is ours at once: MSAL would hide an unknown tenant's code and replay a refusal for a
minute. Nothing here is imported before a token is asked for.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .aadsts import STALE_SECRET, explain
from .config import Connection
from .credentials import is_sealed
from .errors import AuthError, CredentialError, DependencyError, TransportError
from .redact import Redactor
from .refusals import Refusals
from .runtime import Runtime
from .tokencache import TokenCache
from .transport import Reply, Transport, first_line, place, skew_words

# Asked anew so long before its end, that it doesn't run out between here and Microsoft; less for short-lived ones.
_MARGIN_SECONDS = 300.0
_DEFAULT_SECONDS = 3599


# Each is itself, as the owner of its text (see Redactor.add).
@dataclass(frozen=True, eq=False)
class Token:
    """An access token. `expires_at`: time.monotonic(). `roles`: what its payload claims, for messages only; the API
    alone decides what counts. `is_opaque`: its payload can't be read."""

    access_token: str = field(repr=False)
    expires_at: float
    lifetime: int
    roles: tuple[str, ...] = ()
    is_opaque: bool = False
    # The tenant's GUID, also where it was asked for by a domain name; empty where the payload does not say.
    tenant_id: str = ""

    def is_fresh(self) -> bool:
        return time.monotonic() < self.expires_at - min(_MARGIN_SECONDS, self.lifetime / 2)


class Authenticator:
    """The tokens of one connection."""

    def __init__(
        self, connection: Connection, transport: Transport, redactor: Redactor, runtime: Runtime | None = None
    ) -> None:
        """`runtime`: where it is known what was refused before; without it, by this object alone."""
        self._method = _METHODS[connection.identity.method](connection, transport, redactor)
        runtime = runtime or Runtime()
        notebook = runtime.notebook(connection)
        self._refusals = Refusals(notebook, transport.server_now)
        scope, sealed = connection.target.scope, is_sealed(connection.identity.secret)
        self._cache = TokenCache(notebook, scope, sealed) if runtime.keeps_tokens else None
        self._redactor = redactor
        self._token: Token | None = None

    @property
    def proof_ends(self) -> int | None:
        """When what is signed in with expires (ticks); None where that can't be known, as for a secret, or not yet."""
        return self._method.ends

    def token(self) -> Token:
        """A token that is still good for some minutes. AuthError, CredentialError, TransportError."""
        if self._token is None or not self._token.is_fresh():
            self._token = self._ask(None)
        return self._token

    def renew(self, claims: str | None = None) -> Token:
        """Another token in place of one that was refused. `claims`: of the challenge, as JSON or its base64."""
        self._token = None
        if self._cache is not None:
            self._cache.drop()
        self._token = self._ask(plain_claims(claims))
        return self._token

    def _ask(self, claims: str | None) -> Token:
        """A token; where the secret was refused and there is a new one by now, by that: tried once, and at once."""
        try:
            return self._try(claims)
        except AuthError as error:
            if error.aadsts not in STALE_SECRET or not self._method.renew():
                raise
        return self._try(claims)

    def _try(self, claims: str | None) -> Token:
        def proof() -> list[bytes]:
            return self._method.proof(claims)

        kept = self._cache.get(proof) if self._cache is not None else None
        if kept is not None:
            token = self._made(kept[0], time.monotonic() + kept[1], kept[2])
            if token.is_fresh():
                return token
        self._refusals.check(proof)
        asked = time.monotonic()
        try:
            answer = self._method.ask(claims)
        except AuthError as error:
            if error.is_final:
                self._refusals.add(proof, error)
            raise
        self._refusals.clear(proof)
        lifetime = _seconds(answer.get("expires_in"))
        token = self._made(str(answer["access_token"]), asked + lifetime, lifetime)
        if self._cache is not None:
            self._cache.put(proof, token.access_token, token.expires_at - time.monotonic(), lifetime)
        return token

    def _made(self, text: str, expires_at: float, lifetime: int) -> Token:
        payload = claims_of(text)
        tenant_id = str((payload or {}).get("tid") or "")
        token = Token(text, expires_at, lifetime, _roles(payload), payload is None, tenant_id)
        self._redactor.add(text, token)
        return token


# --- the methods ---------------------------------------------------------------------------------------------------


class _Method:
    """How an app proves who it is. `ends`: see Authenticator.proof_ends."""

    ends: int | None = None

    def __init__(self, connection: Connection, transport: Transport, redactor: Redactor) -> None:
        self.connection = connection
        self.transport = transport
        self.redactor = redactor

    def ask(self, claims: str | None) -> Mapping[str, Any]:
        """The token endpoint's answer."""
        connection, credential = self.connection, self.credential()
        kind = _msal().ConfidentialClientApplication
        try:
            # A new one each time: MSAL's memory of tokens and refusals lives in it.
            app = kind(
                connection.identity.client(),
                client_credential=credential,
                authority=f"{connection.target.authority_url}/{connection.identity.tenant_id}",
                # What is no Microsoft host would be asked of login.microsoftonline.com; a known one needs no asking.
                instance_discovery=False,
                # Where MSAL_FORCE_REGION would lead elsewhere, there is a word against it.
                azure_region=getattr(kind, "DISABLE_MSAL_FORCE_REGION", None),
                http_client=_Http(connection, self.transport, self.redactor),
            )
            answer = app.acquire_token_for_client(scopes=[connection.target.scope], claims_challenge=claims)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            # MSAL reads answers without looking closely. Its own texts may quote them.
            raise _not_entra(connection.target.authority_url, "answered with what no login service would") from error
        return checked(answer, connection, self.redactor)

    def credential(self) -> Any:
        """What MSAL calls client_credential."""
        raise NotImplementedError

    def proof(self, claims: str | None) -> list[bytes]:
        """All that decides what Entra ID answers: how and with what the app proves itself, and what it asks for."""
        identity = self.connection.identity
        wanted = (identity.method, identity.client(), self.connection.target.scope, claims or "")
        return [*(text.encode() for text in wanted), *self.evidence()]

    def evidence(self) -> list[bytes]:
        """The secrets themselves."""
        raise NotImplementedError

    def renew(self) -> bool:
        """After a refusal: whether there is another secret now."""
        return False


class _ClientSecret(_Method):
    _sent = ""

    def credential(self) -> str:
        source = self.connection.identity.secret
        if source is None:
            raise CredentialError(
                "There is no client secret to sign in with.",
                "Give client_secret, or name a stored credential that has one.",
                code="credential.secret_missing",
            )
        self._sent = secret = source.read()
        self.redactor.add(secret)
        return secret

    def evidence(self) -> list[bytes]:
        return [self.credential().encode()]

    def renew(self) -> bool:
        source = self.connection.identity.secret
        return source is not None and source.renew(self._sent)


class _Certificate(_Method):
    def credential(self) -> dict[str, str]:
        from .certificates import load, thumbprint

        loaded = load(self.connection.identity.certificate_path or "", self._password(), self.transport.server_now())
        self.ends = loaded.end
        found = {"private_key": loaded.key_pem, "public_certificate": loaded.certificate_pem}
        if _version(_msal()) < (1, 35):
            # Before that, MSAL took the SHA-1 thumbprint, and nothing else.
            found["thumbprint"] = thumbprint(loaded.certificate_pem)
        return found

    def _password(self) -> str | None:
        source = self.connection.identity.certificate_password
        password = source.read() if source else None
        self.redactor.add(password)
        return password

    def evidence(self) -> list[bytes]:
        loaded = self.credential()
        return [loaded["private_key"].encode(), loaded["public_certificate"].encode()]


class _WorkloadIdentity(_Method):
    def credential(self) -> dict[str, Callable[[], str]]:
        return {"client_assertion": self._read}

    def _read(self) -> str:
        from .secrets import FileSecret

        # Kubernetes writes a new token into it every hour.
        assertion = FileSecret(self.connection.identity.federated_token_file or "").read()
        self.redactor.add(assertion)
        return assertion

    def evidence(self) -> list[bytes]:
        return [self._read().encode()]


class _ManagedIdentity(_Method):
    def evidence(self) -> list[bytes]:
        """Nothing: the host itself is the proof."""
        return []

    def ask(self, claims: str | None) -> Mapping[str, Any]:
        msal = _msal()
        if not hasattr(msal, "ManagedIdentityClient"):
            raise AuthError(
                f"The installed msal {msal.__version__} knows no managed identities.",
                "Install msal 1.29 or later on the host where this runs.",
                code="auth.msal_too_old",
            )
        identity = self.connection.identity
        who = (
            msal.UserAssignedManagedIdentity(client_id=identity.client_id)
            if identity.client_id
            else msal.SystemAssignedManagedIdentity()
        )
        session = _local_session(self.connection.http.timeout)
        scope = self.connection.target.scope
        resource = scope[: -len("/.default")] if scope.endswith("/.default") else scope
        try:
            client = msal.ManagedIdentityClient(who, http_client=session)
            answer = client.acquire_token_for_client(resource=resource)
        except OSError as error:
            raise _no_managed_identity(_why_not(error)) from error
        except ValueError as error:
            raise _no_managed_identity("what answers at the metadata address is not Azure") from error
        finally:
            session.close()
        if "access_token" not in answer:
            said = str(answer.get("error_description") or answer.get("error") or "no reason was given")
            raise _no_managed_identity(self.redactor.text(said.splitlines()[0])[:300].rstrip("."), is_final=True)
        return answer  # type: ignore[no-any-return]


def _why_not(error: OSError) -> str:
    """Azure Arc proves that we are on its host by a file; all else is the network."""
    if error.filename is None:
        return "nothing answers at the metadata address"
    return (
        f"Azure Arc's key file {error.filename} can't be read ({error.strerror}); the user who runs this has to be in"
        " the group himds"
    )


def _no_managed_identity(reason: str, is_final: bool = False) -> AuthError:
    return AuthError(
        f"This host's managed identity gave no token: {reason}.",
        "Check that this host runs in Azure (or has Azure Arc), that a managed identity is assigned to it, and for a"
        " user-assigned one that client_id is its client ID.",
        code="auth.managed_identity",
        is_final=is_final,
    )


_METHODS: dict[str, type[_Method]] = {
    "client_secret": _ClientSecret,
    "certificate": _Certificate,
    "workload_identity": _WorkloadIdentity,
    "managed_identity": _ManagedIdentity,
}


# --- MSAL ----------------------------------------------------------------------------------------------------------


def _msal() -> Any:
    try:
        import msal  # type: ignore[import-untyped,unused-ignore]
    except ImportError:
        raise DependencyError("msal") from None
    return msal


def _version(module: Any) -> tuple[int, ...]:
    return tuple(int(part) for part in str(module.__version__).split(".")[:2] if part.isdigit())


class _Response:
    """What MSAL needs of an answer. Only good ones get here."""

    def __init__(self, text: str, headers: Mapping[str, str]) -> None:
        self.status_code = 200
        self.headers = headers
        self.text = text

    def raise_for_status(self) -> None:
        """Nothing: see _Http."""


class _Http:
    """The HTTP client that MSAL uses. Answers that are not good never reach MSAL."""

    def __init__(self, connection: Connection, transport: Transport, redactor: Redactor) -> None:
        self._connection = connection
        self._transport = transport
        self._redactor = redactor

    def get(self, url: str, **unused: Any) -> _Response:
        """MSAL asks for a tenant's addresses (OpenID Connect discovery). Those that it needs are always the same, in
        every cloud (learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow), so they are told
        without a request: with a thousand tenants that is a thousand fewer, and the secret goes nowhere else. MSAL for
        Java and .NET don't ask either (AzureAD/microsoft-authentication-library-for-dotnet, issue 1750).
        """
        tenant = f"{self._connection.target.authority_url}/{self._connection.identity.tenant_id}"
        endpoints = {name: f"{tenant}/oauth2/v2.0/{name}" for name in ("authorize", "token")}
        found = {
            "issuer": f"{tenant}/v2.0",
            "authorization_endpoint": endpoints["authorize"],
            "token_endpoint": endpoints["token"],
        }
        return _Response(json.dumps(found), {})

    def post(self, url: str, params: Any = None, data: Any = None, headers: Any = None, **unused: Any) -> _Response:
        for name in ("client_secret", "client_assertion"):
            value = (data or {}).get(name)
            self._redactor.add(value.decode("ascii") if isinstance(value, bytes) else value, self)
        try:
            reply = self._transport.request(
                "POST",
                url,
                list((params or {}).items()),
                data=data,
                headers={name: text for name, text in (headers or {}).items() if text},
            )
        except TransportError as error:
            # A login can't be asked for fewer rows.
            error.wants_less = False
            raise
        body = self._body(reply)
        if reply.status != 200:
            refusal = explain(body, self._connection, self._redactor)
            skew = self._transport.skew_seconds
            if refusal.code == "auth.clock" and skew is not None:
                refusal.remedy = f"By the Date of this answer, {skew_words(skew)}. {refusal.remedy}"
            raise refusal
        return _Response(reply.body.decode("utf-8-sig"), reply.headers)

    def close(self) -> None:
        """Nothing: the transport outlives MSAL."""

    def _body(self, reply: Reply) -> Mapping[str, Any]:
        try:
            body = json.loads(reply.body.decode("utf-8-sig"))
        except (ValueError, RecursionError):
            body = None
        if isinstance(body, dict) and (reply.status == 200 or "error" in body):
            return body
        line = first_line(reply.body, self._redactor.text)
        begins = f'; it begins "{line}"' if line else " (it is empty)"
        raise _not_entra(
            reply.url, f"answered {reply.status} with something that does not come from Microsoft Entra ID{begins}"
        )


def _not_entra(url: str, what: str) -> TransportError:
    return TransportError(
        f"{place(url)} {what}.",
        "A proxy's sign-in page or a wrong address looks like this: check proxy, authority_url and cloud.",
        code="network.not_entra",
    )


def checked(answer: Any, connection: Connection, redactor: Redactor) -> Mapping[str, Any]:
    """MSAL's answer, which holds a token. AuthError where it does not."""
    if isinstance(answer, Mapping) and isinstance(answer.get("access_token"), str) and answer["access_token"]:
        return answer
    raise explain(answer if isinstance(answer, Mapping) else {}, connection, redactor)


def _local_session(timeout: int) -> Any:
    """For the metadata address of this very host: no proxy, no ~/.netrc, no other CA may come between."""
    try:
        import requests
    except ImportError:
        raise DependencyError("requests") from None

    class LocalSession(requests.Session):
        def request(self, *args: Any, **kwargs: Any) -> Any:
            kwargs.setdefault("timeout", timeout)
            return super().request(*args, **kwargs)

    session = LocalSession()
    session.trust_env = False
    return session


# --- texts inside texts --------------------------------------------------------------------------------------------


def _seconds(value: Any) -> int:
    """expires_in, which some endpoints write as text."""
    try:
        return max(0, int(float(value)))
    except (TypeError, ValueError, OverflowError):
        return _DEFAULT_SECONDS


def plain_claims(text: str | None) -> str | None:
    """The claims of a challenge as JSON; None where they are none (a new token is worth a try all the same)."""
    if not text:
        return None
    if not text.lstrip().startswith("{"):
        try:
            text = _unbase64(text).decode("utf-8")
        except ValueError:
            return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return text if isinstance(value, dict) else None


def claims_of(token: str) -> Mapping[str, Any] | None:
    """What a token's payload claims, unproved; None for one that only Microsoft can read."""
    try:
        claims = json.loads(_unbase64(token.split(".")[1]))
    except (IndexError, ValueError, RecursionError):
        return None
    return claims if isinstance(claims, dict) else None


def _roles(claims: Mapping[str, Any] | None) -> tuple[str, ...]:
    roles = (claims or {}).get("roles")
    return tuple(role for role in roles if isinstance(role, str)) if isinstance(roles, list) else ()


def _unbase64(text: str) -> bytes:
    """Base64 in either alphabet, with or without padding. ValueError."""
    plain = text.strip().rstrip("=").replace("-", "+").replace("_", "/")
    return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
