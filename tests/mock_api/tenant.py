# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The mock tenant as a whole: made from a configuration, started, steered, asked for the truth, stopped."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from cryptography import x509

from .access import Access
from .assertions import Assertions, Workload
from .ccp import Ccp
from .clock import SECOND, Clock
from .config import TenantConfig
from .control import PREFIX, Control
from .dataset import Dataset
from .entra import Entra
from .exporter import Exporter
from .faults import Faults
from .files import write_private
from .graph import Graph
from .mde import Mde
from .messages import Request
from .pki import PFX_PASSWORD, rsa_key, write_ccp_files, write_client_files, write_server_files
from .router import Router
from .server import HttpsServer
from .timeline import mix
from .tokens import RESOURCES, Tokens

_LOGGED_HEADERS = ("Accept", "Accept-Encoding", "Content-Type", "Host", "Prefer", "User-Agent", "client-request-id")
_DEFAULT_AUDIENCE = {
    "graph": "https://graph.microsoft.com",
    "mde": "https://api.securitycenter.microsoft.com",
    "exporter": "https://graph.windows.net",
}


class MockTenant:
    """`with MockTenant(TenantConfig(alerts=1000)) as tenant:` serves until the block ends."""

    def __init__(self, config: TenantConfig | None = None, directory: str | Path | None = None, port: int = 0) -> None:
        if not 0 <= port <= 65535:
            raise ValueError(f"there is no port {port}")
        self.config = config or TenantConfig()
        self._port = port
        self._temporary = None if directory else tempfile.TemporaryDirectory(prefix="mock_tenant_")
        self.directory = Path(directory or self._temporary.name).absolute()  # type: ignore[union-attr]
        self.directory.mkdir(parents=True, exist_ok=True)
        self._log: deque[dict[str, Any]] = deque(maxlen=self.config.keep_requests)
        self._clock_lock = threading.Lock()
        self._last_ticks = 0
        self._server: HttpsServer | None = None
        self._ccp_server: HttpsServer | None = None
        self._threads: list[threading.Thread] = []
        self.clock = _ConfiguredClock(self.config)
        self.tokens = Tokens(rsa_key("signing"), self.clock)
        self.datasets: dict[str, Dataset] = {}
        # The last request's wish, so that the truth is the truth as that client saw it.
        self._unknown_members = True
        self._make_data()

    # --- start and stop --------------------------------------------------------------------------------------------

    def start(self) -> MockTenant:
        try:
            self._start()
        except BaseException:
            # For one, the port is taken: then no `with` block is entered that could clean up.
            self.stop()
            raise
        return self

    def _start(self) -> None:
        ca_path, self._server_files = write_server_files(self.directory)
        pem, pfx, certificate = write_client_files(self.directory)
        self.ca_path = str(ca_path)
        self.client_certificate_path, self.client_certificate_pfx_path = str(pem), str(pfx)
        self.client_certificate_password = PFX_PASSWORD
        self.faults = Faults(self.config.faults, self.clock)
        self._own_certificate = certificate
        server_file = self._server_files[self.config.server_certificate]
        self._server = HttpsServer(server_file, self.clock, self._router().answer, self._record, self._port)
        self.url = f"https://{self._server.address}"
        self._serve(self._server)
        if self.config.ccp is not None:
            self._ccp = Ccp(self.config, self.faults)
            self._ccp_files = write_ccp_files(self.directory)
            self._ccp_server = HttpsServer(self._ccp_files.server, self.clock, self._ccp.answer, self._record)
            self._ask_for_certificates(self._ccp_server)
            self._serve(self._ccp_server)

    def _serve(self, server: HttpsServer) -> None:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        self._threads.append(thread)

    def _ask_for_certificates(self, server: HttpsServer) -> None:
        is_demanded = self._ccp.config.client_certificate == "demanded"
        server.use_certificate(self._ccp_files.server, self._ccp_files.ca_path, is_demanded)

    def stop(self) -> None:
        for server in (self._server, self._ccp_server):
            if server is not None:
                server.stop()
        self._server = self._ccp_server = None
        while self._threads:
            self._threads.pop().join(5)
        if self._temporary is not None:
            self._temporary.cleanup()

    def __enter__(self) -> MockTenant:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _router(self) -> Router:
        access = Access(self.config, self.tokens, self.clock, self.datasets)
        self._workload = Workload(
            "https://issuer.mock.example", "system:serviceaccount:wdatp:collector", rsa_key("workload")
        )
        self.federated_token_file = str(
            write_private(self.directory / "federated.jwt", self._workload.token().encode())
        )
        self._entra = Entra(
            self.config, self._names(), self.tokens, self._assertions(self.config.certificates), self.clock
        )
        return Router(
            entra=self._entra,
            graph=Graph(self.config, access),
            mde=Mde(self.config, access),
            exporter=Exporter(self.config, access),
            access=access,
            faults=self.faults,
            control=Control(self),
        )

    def _assertions(self, certificates: list[str]) -> Assertions:
        known = [self._own_certificate, *(x509.load_pem_x509_certificate(text.encode()) for text in certificates)]
        return Assertions(known, self._workload, self.clock)

    def _names(self) -> dict[str, str]:
        names = {}
        for dataset in self.datasets.values():
            names[dataset.options.tenant_id.lower()] = dataset.options.tenant_id
            names[dataset.options.domain.lower()] = dataset.options.tenant_id
        return names

    def _make_data(self) -> None:
        # All alerts lie in the past, also for a client whose clock is a little behind.
        now = self.clock.ticks() - 2 * SECOND
        made = {options.tenant_id.lower(): Dataset(options, now) for options in self.config.data_options()}
        # The same dict stays in use: the APIs hold it.
        self.datasets.clear()
        self.datasets.update(made)

    # --- who it is -------------------------------------------------------------------------------------------------

    @property
    def tenant_id(self) -> str:
        return next(iter(self.datasets.values())).options.tenant_id

    @property
    def client_id(self) -> str:
        return self.config.client_id

    @property
    def client_secret(self) -> str:
        return self.config.client_secret

    @property
    def client_secret_id(self) -> str:
        return self.config.secret_id(self.config.client_secret)

    @property
    def control_url(self) -> str:
        return self.url + PREFIX.rstrip("/")

    @property
    def tenants(self) -> list[dict[str, Any]]:
        return [
            {"tenant_id": data.options.tenant_id, "domain": data.options.domain, "alerts": len(data.alerts)}
            for data in self.datasets.values()
        ]

    @property
    def ccp(self) -> dict[str, Any] | None:
        """Where the mock CCP has the app's secret, in the words of wdatp_credential's option `cyberark`."""
        if self._ccp_server is None:
            return None
        config, account = self._ccp.config, self._ccp.first_account()
        return {
            "url": f"https://{self._ccp_server.address}{config.path}",
            "webservice_id": config.webservice_id,
            "app_id": config.app_id,
            "safe": account.get("Safe"),
            "object": account.get("Object"),
            "client_cert": str(self._ccp_files.client_cert),
            "client_key": str(self._ccp_files.client_key),
            "ca_path": str(self._ccp_files.ca_path),
        }

    def describe(self) -> dict[str, Any]:
        """What --ready-file holds."""
        return {
            "url": self.url,
            "authority_url": self.url,
            "api_url": self.url,
            "control_url": self.control_url,
            "ca_path": self.ca_path,
            "tenant_id": self.tenant_id,
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "client_secret_id": self.client_secret_id,
            "client_certificate_path": self.client_certificate_path,
            "client_certificate_pfx_path": self.client_certificate_pfx_path,
            "client_certificate_password": self.client_certificate_password,
            "federated_token_file": self.federated_token_file,
            "tenants": self.tenants,
            "ccp": self.ccp,
            "pid": os.getpid(),
        }

    @property
    def options(self) -> dict[str, str]:
        """Who asks, and where, as options of the collection's modules."""
        app = {"tenant_id": self.tenant_id, "client_id": self.client_id, "client_secret": self.client_secret}
        return {**app, "authority_url": self.url, "api_url": self.url, "ca_path": self.ca_path}

    def token(self, kind: str = "graph", **claims: Any) -> str:
        """An access token without asking Entra ID.

        `kind`: graph, mde, xdr, exporter. `claims`: audience, tenant_id, client_id, roles, lifetime.
        """
        values = {
            "audience": _DEFAULT_AUDIENCE.get(kind) or next(name for name, value in RESOURCES.items() if value == kind),
            "tenant_id": self.tenant_id,
            "client_id": self.client_id,
            "roles": self.config.roles.get(kind, []),
            "lifetime": self.config.token_lifetime,
            "version": "1.0",
        }
        return self.tokens.issue(**{**values, **claims})

    # --- requests --------------------------------------------------------------------------------------------------

    @property
    def requests(self) -> list[dict[str, Any]]:
        return list(self._log)

    def clear_requests(self) -> None:
        self._log.clear()

    def _record(self, request: Request, status: int, started: float, sent: int) -> None:
        if request.leg == "control":
            return
        if "unknown_members" in request.note:
            self._unknown_members = bool(request.note["unknown_members"])
        self._log.append(
            {
                "method": request.method,
                "path": request.path,
                "query": {name: values[-1] for name, values in request.query.items()},
                # As it was sent: with its repeats and its escapes.
                "raw_query": request.query_text,
                "status": status,
                "ms": round((time.monotonic() - started) * 1000, 3),
                "headers": {name: request.header(name) for name in _LOGGED_HEADERS if request.header(name)},
                "leg": request.leg,
                "connection": request.connection,
                "tenant_id": request.tenant_id,
                "bytes": sent,
                "time": self.clock.seconds(),
                **request.note,
            }
        )

    # --- data ------------------------------------------------------------------------------------------------------

    def dataset(self, tenant: str | None = None) -> Dataset:
        """The data of one tenant, by its id or domain; without a name, of the first."""
        name = (tenant or self.tenant_id).lower()
        for dataset in self.datasets.values():
            if name in (dataset.options.tenant_id.lower(), dataset.options.domain.lower()):
                return dataset
        raise ValueError(f"no tenant {tenant!r} here")

    def alerts(
        self,
        api: str = "graph_alerts",
        tenant: str | None = None,
        expand: bool = True,
        unknown_members: bool | None = None,
    ) -> Iterator[tuple[str, str, bytes]]:
        """The truth, oldest first: (id, update time, bytes) of all that the API can return.

        `expand`: as with $expand. `unknown_members`: as with `Prefer: include-unknown-enum-members`; None: as the
        last request to Graph had it.
        """
        wanted = self._unknown_members if unknown_members is None else unknown_members
        return self.dataset(tenant).truth(api, expand, wanted)

    def add_alerts(
        self,
        n: int = 1,
        late_seconds: float = 0,
        tie: bool = False,
        spread_seconds: float = 0,
        tenant: str | None = None,
    ) -> list[str]:
        """New alerts, updated now, or `late_seconds` ago, or (tie) at the very time of the newest; their ids."""
        dataset = self.dataset(tenant)
        with dataset.lock:
            if tie:
                newest = dataset.newest(1)
                moment = self._moment(late_seconds) if late_seconds or not newest else newest[0][0]
                ticks = [moment] * n
            else:
                first = self._moment(late_seconds)
                step = int(spread_seconds * SECOND) // n if spread_seconds else 12_345
                ticks = [first - (n - 1 - index) * step - mix(first + index) % 1000 for index in range(n)]
            return dataset.add(ticks)

    def update_alerts(
        self, which: int | list[str] = 1, late_seconds: float = 0, tie: bool = False, tenant: str | None = None
    ) -> list[str]:
        """Another status for these alerts (ids, or how many of the newest), as of now; their ids."""
        dataset = self.dataset(tenant)
        with dataset.lock:
            if isinstance(which, int):
                numbers = [number for _ticks, number in dataset.newest(which)]
            else:
                found = [(alert_id, dataset.find_alert(alert_id)) for alert_id in which]
                missing = [alert_id for alert_id, number in found if number is None]
                if missing:
                    raise ValueError(f"no such alerts: {missing}")
                numbers = [number for _id, number in found if number is not None]
            if tie:
                ticks = [self._moment(late_seconds)] * len(numbers)
            else:
                ticks = [self._moment(late_seconds) for _number in numbers]
            return dataset.update(numbers, ticks)

    def _moment(self, late_seconds: float) -> int:
        """Now, and never the same moment twice, or some time ago."""
        with self._clock_lock:
            self._last_ticks = max(self._last_ticks + 1, self.clock.ticks())
            return self._last_ticks - int(late_seconds * SECOND)

    # --- knobs -----------------------------------------------------------------------------------------------------

    def set_faults(self, rules: list[dict[str, Any]]) -> None:
        self.faults.set(rules)

    def configure(self, **knobs: Any) -> None:
        """Turn knobs while it runs. Data knobs make the data anew, and forget what was added."""
        # What can be wrong is tried first: a wrong value must not leave half a change.
        assertions = self._assertions(knobs.get("certificates", self.config.certificates))
        Faults(knobs.get("faults", []), self.clock)
        if self._server is not None and (knobs.get("ccp", self.config.ccp) is None) != (self._ccp_server is None):
            raise ValueError("whether there is a CCP is said at the start")
        if self.config.change(knobs):
            self._make_data()
            self._entra.tenants = self._names()
        self._entra.assertions = assertions
        if "faults" in knobs:
            self.set_faults(knobs["faults"])
        if self._server is not None:
            self._server.use_certificate(self._server_files[self.config.server_certificate])
        if self._ccp_server is not None:
            self._ask_for_certificates(self._ccp_server)


class _ConfiguredClock(Clock):
    """Follows the knob `clock_skew_seconds`, also when it is turned later."""

    def __init__(self, config: TenantConfig) -> None:
        self._config = config

    @property
    def skew_seconds(self) -> float:  # type: ignore[override]
        return self._config.clock_skew_seconds
