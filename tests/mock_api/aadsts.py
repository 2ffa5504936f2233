# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Entra ID's error answers."""

from __future__ import annotations

import uuid
from datetime import datetime, timezone
from typing import Any

from .clock import Clock
from .messages import Response, json_response

# code -> (HTTP status, error, text)
ERRORS: dict[int, tuple[int, str, str]] = {
    90002: (
        400,
        "invalid_request",
        "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the "
        "correct cloud. Check with your subscription administrator, this may happen if there are no active "
        "subscriptions for the tenant.",
    ),
    90038: (
        400,
        "invalid_request",
        "The tenant '{tenant}' has been redirected to another national cloud. Sign in with that cloud's authority.",
    ),
    700016: (
        400,
        "unauthorized_client",
        "Application with identifier '{client}' was not found in the directory '{directory}'. This can happen if the "
        "application has not been installed by the administrator of the tenant or consented to by any user in the "
        "tenant. You may have sent your authentication request to the wrong tenant.",
    ),
    7000215: (
        401,
        "invalid_client",
        "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not "
        "the client secret ID, for a secret added to app '{client}'.",
    ),
    7000222: (
        401,
        "invalid_client",
        "The provided client secret keys for app '{client}' are expired. Visit the Azure portal to create new keys for "
        "your app: https://aka.ms/NewClientSecret, or consider using certificate credentials for added security: "
        "https://aka.ms/certCreds.",
    ),
    7000218: (
        401,
        "invalid_client",
        "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
    ),
    7000112: (400, "unauthorized_client", "Application '{client}'(mock collector) is disabled."),
    700024: (
        401,
        "invalid_client",
        "Client assertion is not within its valid time range. Current time: {now}, assertion valid from {nbf}, expiry "
        "time of assertion {exp}. Review the documentation at https://learn.microsoft.com/entra/identity-platform/"
        "certificate-credentials.",
    ),
    700027: (
        401,
        "invalid_client",
        "The certificate with identifier used to sign the client assertion is not registered on application. [Reason - "
        "{reason}, Please visit the Azure Portal, Graph Explorer or directly use MS Graph to see configured keys for "
        "app Id '{client}'.]",
    ),
    700021: (
        401,
        "invalid_client",
        "Client assertion application identifier doesn't match 'client_id' parameter. Review the documentation.",
    ),
    700023: (
        401,
        "invalid_client",
        "Client assertion audience claim does not match Realm issuer. Review the documentation.",
    ),
    700213: (
        401,
        "invalid_client",
        "No matching federated identity record found for presented assertion subject '{subject}'. Check your federated "
        "identity credential Subject, Audience and Issuer against the presented assertion.",
    ),
    50027: (400, "invalid_request", "JWT token is invalid or malformed."),
    900144: (400, "invalid_request", "The request body must contain the following parameter: '{name}'."),
    70003: (400, "unsupported_grant_type", "The app requested an unsupported grant type '{grant}'."),
    70011: (
        400,
        "invalid_scope",
        "The provided request must include a 'scope' input parameter. The provided value for the input parameter "
        "'scope' is not valid. The scope {scope} is not valid.",
    ),
    1002012: (
        400,
        "invalid_scope",
        "The provided value for scope {scope} is not valid. Client credential flows must have a scope value with "
        "/.default suffixed to the resource identifier (application ID URI).",
    ),
    700022: (
        400,
        "invalid_scope",
        "The provided value for the input parameter 'scope' is not valid because it contains more than one resource. "
        "Scope {scope} is not valid.",
    ),
    901002: (400, "invalid_request", "The 'resource' request parameter is not supported."),
    9001023: (
        400,
        "invalid_request",
        "The grant type is not supported over the /common or /consumers endpoints. Please use the /organizations or "
        "tenant-specific endpoint.",
    ),
    500011: (
        400,
        "invalid_resource",
        "The resource principal named {resource} was not found in the tenant named {directory}. This can happen if the "
        "application has not been installed by the administrator of the tenant or consented to by any user in the "
        "tenant. You might have sent your authentication request to the wrong tenant.",
    ),
    # The rest is never answered unless a fault says so.
    50001: (
        400,
        "invalid_resource",
        "The resource principal named {resource} was not found in the tenant named {directory}, or it is disabled.",
    ),
    50012: (401, "invalid_client", "Authentication failed."),
    50034: (400, "invalid_grant", "The user account does not exist in the {directory} directory."),
    50059: (400, "invalid_request", "No tenant-identifying information found in either the request or implied by it."),
    50128: (400, "invalid_request", "Invalid domain name. No tenant-identifying information found in the request."),
    50194: (400, "unauthorized_client", "Application '{client}' is not configured as a multi-tenant application."),
    65001: (
        400,
        "invalid_grant",
        "The user or administrator has not consented to use the application with ID '{client}'. Send an interactive "
        "authorization request for this user and resource.",
    ),
    70001: (400, "unauthorized_client", "Application with identifier '{client}' is disabled."),
    70002: (401, "invalid_client", "Error validating credentials."),
    500021: (400, "access_denied", "Access to '{directory}' tenant is denied."),
    500022: (400, "access_denied", "Access to '{directory}' tenant is denied by tenant restrictions."),
    530032: (400, "invalid_grant", "Your device is blocked by the security policy of the directory."),
    650052: (
        400,
        "invalid_request",
        "The app is trying to access a service '{resource}' that your organization '{directory}' lacks a service "
        "principal for. Contact your IT Admin to review the configuration of your service subscriptions.",
    ),
    650056: (
        400,
        "invalid_request",
        "Misconfigured application. The client has not listed any permissions in its application registration, or the "
        "admin has not consented in the tenant.",
    ),
    650057: (
        400,
        "invalid_resource",
        "Invalid resource. The client has requested access to a resource which is not listed in the requested "
        "permissions in the client's application registration. Client app ID: {client}.",
    ),
    700011: (400, "unauthorized_client", "Application with identifier '{client}' was not found in the directory."),
    700025: (
        401,
        "invalid_client",
        "Client is public so neither 'client_assertion' nor 'client_secret' should be presented.",
    ),
    700030: (401, "invalid_client", "Invalid certificate - subject name in certificate is not authorized."),
    700229: (
        401,
        "invalid_client",
        "Only app-only tokens can be used as Federated Identity Credentials for AAD issuer.",
    ),
    900382: (400, "invalid_request", "Confidential Client is not supported in Cross Cloud request."),
    900432: (400, "invalid_request", "Confidential Client is not supported in Cross Cloud request."),
    90006: (503, "temporarily_unavailable", "External server or system is unavailable and could not be reached."),
    90012: (504, "temporarily_unavailable", "The request has timed out."),
    90024: (503, "temporarily_unavailable", "Request budget is exceeded or the service is busy. Please retry."),
    90055: (429, "temporarily_unavailable", "The server terminated an operation because of too many requests."),
    53003: (
        400,
        "invalid_grant",
        "Access has been blocked by Conditional Access policies. The access policy does not allow token issuance.",
    ),
    50196: (400, "invalid_grant", "The server terminated an operation because it encountered a client request loop."),
    90033: (503, "temporarily_unavailable", "A transient error has occurred. Please try again."),
}


class EntraError(Exception):
    def __init__(self, code: int, **values: str) -> None:
        super().__init__(code)
        self.code = code
        self.values = values


class _Blank(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return ""


def error_response(error: EntraError, clock: Clock, correlation_id: str = "") -> Response:
    status, name, text = ERRORS.get(error.code, (400, "invalid_request", "Mock error."))
    moment = datetime.fromtimestamp(clock.seconds(), timezone.utc).strftime("%Y-%m-%d %H:%M:%SZ")
    trace, correlation = str(uuid.uuid4()), correlation_id or str(uuid.uuid4())
    message = f"AADSTS{error.code}: " + text.format_map(_Blank(error.values))
    body: dict[str, Any] = {
        "error": error.values.get("error", name),
        "error_description": "\r\n".join(
            (message, f"Trace ID: {trace}", f"Correlation ID: {correlation}", f"Timestamp: {moment}")
        ),
        "error_codes": [error.code],
        "timestamp": moment,
        "trace_id": trace,
        "correlation_id": correlation,
        "error_uri": f"https://login.microsoftonline.com/error?code={error.code}",
    }
    return json_response(body, status, Cache_Control="no-store, no-cache", Pragma="no-cache")
