# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every option that users type, once: name, type, default, environment variable, choices, whether it is a secret.

Argument specs are made from these tables (../_argspec.py); the documentation of modules and plugins is held against
them by tests/unit/test_surfaces.py.

An option whose default is None may also come from its environment variable or from a stored credential, and only then
from what `meaning of nothing` config.py gives it; so "not given" stays visible until there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .clouds import APIS, CLOUDS


@dataclass(frozen=True)
class Option:
    name: str
    # Ansible's names: str, int, bool, path, list, dict, raw
    type: str = "str"
    default: Any = None
    env: str = ""
    choices: tuple[str, ...] = ()
    elements: str = ""
    secret: bool = False
    required: bool = False
    options: tuple[Option, ...] = ()


AUTH_METHODS = ("auto", "client_secret", "certificate", "managed_identity", "workload_identity")
SEVERITIES = ("unknown", "informational", "low", "medium", "high")

# Where Kubernetes says that the token of a workload is.
FEDERATED_TOKEN_FILE = Option("federated_token_file", type="path", env="AZURE_FEDERATED_TOKEN_FILE")

# Who asks. Not together with `credential`.
IDENTITY = (
    Option("tenant_id", env="WDATP_TENANT_ID"),
    Option("client_id", env="WDATP_CLIENT_ID"),
    Option("client_secret", env="WDATP_CLIENT_SECRET", secret=True),
    Option("auth_method", env="WDATP_AUTH_METHOD", choices=AUTH_METHODS),
    Option("client_certificate_path", type="path", env="WDATP_CLIENT_CERTIFICATE_PATH"),
    Option("client_certificate_password", env="WDATP_CLIENT_CERTIFICATE_PASSWORD", secret=True),
    FEDERATED_TOKEN_FILE,
)

# What is asked, and where it leads; a stored credential keeps these too.
TARGET = (
    Option("cloud", env="WDATP_CLOUD", choices=tuple(CLOUDS)),
    Option("api", env="WDATP_API", choices=APIS),
    Option("api_url", env="WDATP_API_URL"),
    Option("authority_url", env="WDATP_AUTHORITY_URL"),
    Option("scope", env="WDATP_SCOPE"),
    Option("ca_path", type="path", env="WDATP_CA_PATH"),
    Option("validate_certs", type="bool", env="WDATP_VALIDATE_CERTS"),
    Option("proxy", env="WDATP_PROXY"),
)

SELECTION = (
    Option("credential"),
    Option("host", env="WDATP_HOST"),
    Option("organization", env="WDATP_ORGANIZATION"),
)

PATIENCE = (
    # seconds
    Option("timeout", type="int", default=30),
    # tries after the first
    Option("retries", type="int", default=5),
)

# How much is asked of an API, and where the processes of the host agree about it.
REQUESTS_PER_MINUTE = Option("requests_per_minute", type="int", env="WDATP_REQUESTS_PER_MINUTE")
RUNTIME_DIR = Option("runtime_dir", type="path", env="WDATP_RUNTIME_DIR")
TOKEN_CACHE = Option("token_cache", type="bool", env="WDATP_TOKEN_CACHE")
PACE = (REQUESTS_PER_MINUTE, RUNTIME_DIR, TOKEN_CACHE)

CONFIG_DIR = Option("config_dir", type="path", default="/etc/wdatp", env="WDATP_CONFIG_DIR")
STATE_DIR = Option("state_dir", type="path", default="/var/lib/wdatp", env="WDATP_STATE_DIR")

# What every module that asks Microsoft, and the lookup, share.
CONNECTION = SELECTION + IDENTITY + TARGET + PATIENCE + PACE + (CONFIG_DIR,)

FILTERS = (
    Option("severity", type="list", elements="str"),
    Option("status", type="list", elements="str"),
    Option("category", type="list", elements="str"),
)

DESTINATION = (
    Option("type", choices=("file",), default="file"),
    Option("path", type="path"),
    Option("format", choices=("raw", "envelope"), default="raw"),
)

# tenants that are asked at the same time
MAX_PARALLEL = Option("max_parallel", type="int", default=8)

# What is pulled and how it is written: of a pull, and of a job's definition.
WHAT = (
    Option("initial_lookback", default="1d"),
    Option("overlap", default="auto"),
    Option("page_size", type="int"),
    Option("expand", type="bool", default=True),
    Option("updates", choices=("all", "latest", "new_only", "changed"), default="all"),
    *FILTERS,
    Option("max_events", type="int"),
    # seconds
    Option("max_seconds", type="int"),
    # bytes of alert text
    Option("max_bytes", type="int"),
    MAX_PARALLEL,
    Option("destinations", type="list", elements="dict", options=DESTINATION),
)
# What one run may say on its own, also that of a job.
WINDOW = (
    Option("since"),
    Option("until"),
    Option("return_events", type="int", default=0),
    Option("reconcile", choices=("no", "report", "fill"), default="no"),
    Option("fail_on_error", type="bool", default=True),
)
PULL = (Option("job"), STATE_DIR, *WINDOW, *WHAT)

# An account in CyberArk, and how its Central Credential Provider (CCP) is asked for it.
CYBERARK = (
    Option("url", required=True),
    Option("webservice_id", default="AIMWebService"),
    Option("app_id", required=True),
    Option("safe"),
    Option("folder"),
    Option("object"),
    Option("username"),
    Option("address"),
    Option("database"),
    Option("policy_id"),
    Option("query"),
    Option("query_format", choices=("Exact", "Regexp")),
    Option("reason"),
    # seconds
    Option("connection_timeout", type="int"),
    Option("fail_request_on_password_change", type="bool"),
    Option("client_cert", type="path"),
    Option("client_key", type="path"),
    Option("ca_path", type="path"),
    Option("validate_certs", type="bool", default=True),
)

CREDENTIAL = (
    Option("name", required=True),
    Option("state", choices=("present", "absent"), default="present"),
    *IDENTITY,
    Option("client_secret_file", type="path"),
    Option("cyberark", type="dict", options=CYBERARK),
    Option("details_file", type="path"),
    Option("secret_storage", choices=("auto", "systemd_creds", "file"), default="auto"),
    Option("update_secret", choices=("always", "on_create"), default="always"),
    Option("organization"),
    Option(
        "tenants",
        type="list",
        elements="dict",
        options=(Option("tenant_id", required=True), Option("organization", required=True)),
    ),
    Option("hosts", type="list", elements="str"),
    Option("description"),
    *TARGET,
    CONFIG_DIR,
)

CREDENTIAL_INFO = (
    Option("name"),
    Option("host"),
    Option("organization"),
    CONFIG_DIR,
)

CONNECTIVITY = (*CONNECTION, Option("fail_on_error", type="bool", default=True))

LOOKUP = (
    *CONNECTION,
    Option("since", default="15m"),
    Option("until"),
    *FILTERS,
    Option("expand", type="bool", default=True),
    Option("limit", type="int", default=100),
    # bytes of alert text
    Option("max_bytes", type="int", default=10_000_000),
)

JOB_NAME = "default"
JOB = (
    Option("name", default=JOB_NAME),
    Option("state", choices=("present", "absent"), default="present"),
    # Whose alerts: all that are stored, where nothing is given.
    Option("credentials", type="list", elements="str"),
    Option("organizations", type="list", elements="str"),
    Option("apis", type="list", elements="str", choices=APIS),
    Option("interval", default="5m"),
    Option("enabled", type="bool", default=True),
    *WHAT,
    # An event of its own after each run, for a SIEM that watches for silence.
    Option("heartbeat", type="bool", default=False),
    # A file for Prometheus' node exporter.
    Option("metrics_path", type="path"),
    # Where tenants are spread over several collectors: the names of all, and of this one.
    Option("collectors", type="list", elements="str"),
    Option("collector"),
    *PATIENCE,
    *PACE,
    CONFIG_DIR,
    STATE_DIR,
)

JOB_INFO = (Option("name"), CONFIG_DIR, STATE_DIR)

REPORT = (
    # Here it is a list.
    *(option for option in CONNECTION if option.name != "organization"),
    STATE_DIR,
    Option("source", choices=("store", "api"), default="store"),
    Option("since", default="15m"),
    Option("until"),
    Option("severity", type="list", elements="str"),
    Option("status", type="list", elements="str"),
    Option("organization", type="list", elements="str"),
    Option("format", choices=("table", "json", "html"), default="table"),
    Option("dest", type="path"),
    Option("limit", type="int", default=1000),
    # of letters, in the table
    Option("columns", type="int", default=120),
)

# The program on a collector, which is made of this very package.
PROGRAM = (
    Option("path", type="path", default="/usr/local/bin/wdatp"),
    Option("state", choices=("present", "absent"), default="present"),
    # The Python that it runs with, and that finds its libraries.
    Option("python", type="path"),
    Option("allow_downgrade", type="bool", default=False),
)
