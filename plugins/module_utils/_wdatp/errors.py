# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One tree of errors. Each knows a stable code, what happened, and what the reader should change."""

from __future__ import annotations


class WdatpError(Exception):
    """Base of all errors that the engine raises on purpose.

    `code` is stable and machine-readable (`auth.invalid_secret`), `message` says what is wrong and where,
    `remedy` says what to change. Neither may contain a secret: see redact.py.
    """

    default_code = "error"

    def __init__(self, message: str, remedy: str = "", code: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.code = code or self.default_code

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()

    def to_dict(self) -> dict[str, str]:
        """The form in which results and reports carry an error."""
        return {"code": self.code, "message": self.message, "remedy": self.remedy}


class OptionError(WdatpError):
    """An option that makes no sense, or options that contradict each other."""

    default_code = "option.invalid"


class DependencyError(WdatpError):
    """A Python library is missing or too old. `library` is what to install."""

    default_code = "dependency.missing"

    def __init__(self, library: str) -> None:
        super().__init__(
            f"The Python library {library} is missing on the host where this runs.",
            f"Install it there for the Python that Ansible uses, for example with: python3 -m pip install {library}",
        )
        self.library = library


class CredentialError(WdatpError):
    """A stored credential that is missing, ambiguous or unreadable."""

    default_code = "credential.invalid"


class VaultError(WdatpError):
    """A vault (CyberArk) gave no secret. `is_passing`: another try, within seconds, may help."""

    default_code = "cyberark.failed"

    def __init__(self, message: str, remedy: str = "", code: str = "", is_passing: bool = False) -> None:
        super().__init__(message, remedy, code)
        self.is_passing = is_passing


class TransportError(WdatpError):
    """The network, a proxy, TLS, or an answer that is no answer of this API.

    `wants_less`: the answer was too slow or too large, so the same question for fewer rows may get one.
    """

    default_code = "network.failed"

    def __init__(self, message: str, remedy: str = "", code: str = "", wants_less: bool = False) -> None:
        super().__init__(message, remedy, code)
        self.wants_less = wants_less


class AuthError(WdatpError):
    """Microsoft Entra ID gave no token. `aadsts` is its numeric code, 0 where there is none.

    `is_final`: that was its answer, and it will be the same until somebody changes something.
    """

    default_code = "auth.failed"

    def __init__(self, message: str, remedy: str = "", code: str = "", aadsts: int = 0, is_final: bool = False) -> None:
        super().__init__(message, remedy, code)
        self.aadsts = aadsts
        self.is_final = is_final


class ApiError(WdatpError):
    """The API answered with an error. `status` is the HTTP status, `api_code` the code in the body.

    `page_limit`: the most rows that it would give, where it refused to give as many as were asked for; else 0.
    """

    default_code = "api.failed"

    def __init__(
        self,
        message: str,
        remedy: str = "",
        code: str = "",
        status: int = 0,
        api_code: str = "",
        page_limit: int = 0,
    ) -> None:
        super().__init__(message, remedy, code)
        self.status = status
        self.api_code = api_code
        self.page_limit = page_limit


class JobError(WdatpError):
    """A pull job that is missing, unreadable or impossible."""

    default_code = "job.invalid"


class ProgramError(WdatpError):
    """The file of the command `wdatp`: not ours, newer, or not writable."""

    default_code = "program.failed"


class StoreError(WdatpError):
    """The state on this host: locked, corrupt, too new, not writable, no space."""

    default_code = "store.failed"


class DestinationError(WdatpError):
    """A place where events go to. The events stay in the outbox."""

    default_code = "destination.failed"
