# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that say who asks which API, where and how. Private to this collection.

All of them are these fragments together:

    - secops.defender._connection
    - secops.defender._connection.identity
    - secops.defender._connection.target
    - secops.defender._connection.config_dir

Plugins on the controller add `secops.defender._connection.plugin`, which has the environment variables in a form that
Ansible itself reads. A plugin that hands its options to the engine's config.resolve must leave out those whose origin
is the environment: the engine reads that itself, and there a stored credential wins over the environment's identity.

ansible-test wants each fragment as one literal. tests/unit/test_surfaces.py holds them against the engine's table of
options.
"""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  credential:
    description:
      - Name of a stored credential, see M(secops.defender.wdatp_credential).
      - Not together with O(tenant_id), O(client_id), O(client_secret) and the other options of an identity.
    type: str
  host:
    description:
      - Host name of the API, for example V(wdatp-alertexporter-us.windows.com), perhaps with a port.
      - Where O(api) is not given, a host of Microsoft's decides which API is asked.
      - Where neither O(credential) nor an identity is given, the stored credential that is associated with this host
        is used. Where several are, O(organization) chooses.
      - Without it, the hosts of the credential and then E(WDATP_HOST) count, else O(cloud) and O(api) say which host
        it is.
    type: str
  organization:
    description:
      - Whose tenant is meant, where a credential or a host serves several. Case does not matter.
      - Where it is not given, E(WDATP_ORGANIZATION) is used.
    type: str
requirements:
  - requests >= 2.25
  - msal >= 1.20
notes:
  - What is given counts before what the stored credential says, that before the environment, that before the default.
  - The environment is that of the host where this runs. The environment's identity is not used where a stored
    credential is.
"""

    # How patiently, and how often at most, an API is asked.
    PATIENCE = r"""
options:
  timeout:
    description:
      - Seconds to wait for a connection, and for each piece of an answer.
    type: int
    default: 30
  retries:
    description:
      - How often a request is tried again after the first time, where that makes sense.
    type: int
    default: 5
  requests_per_minute:
    description:
      - At most so many requests to the API in any minute, together with all runs of the same user on this host for the
        same app registration and tenant.
      - Where it is not given, E(WDATP_REQUESTS_PER_MINUTE) is used; else the limit that Microsoft documents for the API
        counts on Microsoft's own hosts, and none on others, as with C(api_url).
    type: int
  token_cache:
    description:
      - Keep the access token for the next runs, until shortly before its end. For those who run every minute.
      - It is kept as the credential's secret is, encrypted with the host's key where that one is; else in a file of
        mode 0600 in O(runtime_dir). Whoever can read that can ask the API for up to an hour, as with the secret.
      - Where it is not given, E(WDATP_TOKEN_CACHE) is used; no token is kept otherwise.
    type: bool
  runtime_dir:
    description:
      - A directory where the runs on this host tell each other what they have asked of an API, and what Entra ID has
        refused. It may be emptied at any time, and has to belong to the user who runs this.
      - Where it is not given, E(WDATP_RUNTIME_DIR) is used, else C(/run/wdatp) where that is possible, else C(wdatp) in
        E(XDG_RUNTIME_DIR), else C(wdatp-) and the user's number in the directory for temporary files.
    type: path
"""

    IDENTITY = r"""
options:
  tenant_id:
    description:
      - The tenant's ID, a GUID, or one of its domain names.
      - Where it is not given, E(WDATP_TENANT_ID) is used.
    type: str
  client_id:
    description:
      - The application (client) ID of the app registration, a GUID.
      - Where it is not given, E(WDATP_CLIENT_ID) is used.
    type: str
  client_secret:
    description:
      - The value of a client secret of the app registration, not the secret's ID.
      - Where it is not given, E(WDATP_CLIENT_SECRET) is used.
    type: str
  auth_method:
    description:
      - How to authenticate.
      - V(auto) goes by what is given, which is also what happens where neither this option nor E(WDATP_AUTH_METHOD)
        is set.
    type: str
    choices:
      - auto
      - client_secret
      - certificate
      - managed_identity
      - workload_identity
  client_certificate_path:
    description:
      - A file with the app registration's certificate and private key, as PEM or as PFX, on the host where this runs.
      - Where it is not given, E(WDATP_CLIENT_CERTIFICATE_PATH) is used.
    type: path
  client_certificate_password:
    description:
      - The password of the private key in O(client_certificate_path).
      - Where it is not given, E(WDATP_CLIENT_CERTIFICATE_PASSWORD) is used.
    type: str
  federated_token_file:
    description:
      - A file with the token of a workload, which Microsoft Entra ID exchanges for its own.
      - Where it is not given, E(AZURE_FEDERATED_TOKEN_FILE) is used.
    type: path
"""

    TARGET = r"""
options:
  cloud:
    description:
      - Microsoft's cloud, which says where to log in, which host to ask and whom the token is for.
      - V(commercial), unless the credential, E(WDATP_CLOUD) or the host says otherwise.
      - Microsoft offers none of these APIs in its China cloud.
    type: str
    choices:
      - commercial
      - gcc
      - gcc_high
      - dod
  api:
    description:
      - Which API is asked.
      - V(graph_alerts) are the alerts of Microsoft Graph (C(/v1.0/security/alerts_v2)), V(graph_incidents) its
        incidents.
      - V(mde_alerts) are the alerts of Microsoft Defender for Endpoint (C(/api/alerts)).
      - V(alert_exporter) is the retired SIEM API of Microsoft Defender ATP (C(wdatp-alertexporter)).
      - Where it is not given, the host decides, then the credential, then E(WDATP_API), else it is V(graph_alerts).
    type: str
    choices:
      - graph_alerts
      - graph_incidents
      - mde_alerts
      - alert_exporter
  api_url:
    description:
      - Address of the API in place of the cloud's, V(https://) with a host and perhaps a port, without a path.
      - For a mock tenant or a private endpoint. The token is still asked for the audience of O(cloud) and O(api),
        unless O(scope) is given.
      - Where it is not given, that of the credential and then E(WDATP_API_URL) is used.
    type: str
  authority_url:
    description:
      - Address of the login service in place of the cloud's, V(https://) with a host, without the tenant.
      - Where it is not given, that of the credential and then E(WDATP_AUTHORITY_URL) is used.
    type: str
  scope:
    description:
      - Scope of the token in place of that of O(cloud) and O(api), for example
        V(https://api.securitycenter.microsoft.com/.default).
      - Where it is not given, that of the credential and then E(WDATP_SCOPE) is used.
    type: str
  ca_path:
    description:
      - A PEM file with the certificate authorities to trust. It wins over E(REQUESTS_CA_BUNDLE).
      - Where it is not given, that of the credential and then E(WDATP_CA_PATH) is used, else those that Python's
        requests trusts.
    type: path
  validate_certs:
    description:
      - Whether the servers' certificates are checked. Set it to V(false) only on a test system.
      - V(true), unless the credential or E(WDATP_VALIDATE_CERTS) says otherwise.
    type: bool
  proxy:
    description:
      - A proxy for all requests, C(http://host:port) or C(http://user:password@host:port).
      - Where it is not given, that of the credential and then E(WDATP_PROXY) is used.
    type: str
"""

    CONFIG_DIR = r"""
options:
  config_dir:
    description:
      - The directory that has the stored credentials, on the host where this runs.
      - Where it is not given, E(WDATP_CONFIG_DIR) is used.
    type: path
    default: /etc/wdatp
"""

    PLUGIN = r"""
options:
  host:
    env:
      - name: WDATP_HOST
  organization:
    env:
      - name: WDATP_ORGANIZATION
  tenant_id:
    env:
      - name: WDATP_TENANT_ID
  client_id:
    env:
      - name: WDATP_CLIENT_ID
  client_secret:
    env:
      - name: WDATP_CLIENT_SECRET
  auth_method:
    env:
      - name: WDATP_AUTH_METHOD
  client_certificate_path:
    env:
      - name: WDATP_CLIENT_CERTIFICATE_PATH
  client_certificate_password:
    env:
      - name: WDATP_CLIENT_CERTIFICATE_PASSWORD
  federated_token_file:
    env:
      - name: AZURE_FEDERATED_TOKEN_FILE
  cloud:
    env:
      - name: WDATP_CLOUD
  api:
    env:
      - name: WDATP_API
  api_url:
    env:
      - name: WDATP_API_URL
  authority_url:
    env:
      - name: WDATP_AUTHORITY_URL
  scope:
    env:
      - name: WDATP_SCOPE
  ca_path:
    env:
      - name: WDATP_CA_PATH
  validate_certs:
    env:
      - name: WDATP_VALIDATE_CERTS
  proxy:
    env:
      - name: WDATP_PROXY
  token_cache:
    env:
      - name: WDATP_TOKEN_CACHE
  requests_per_minute:
    env:
      - name: WDATP_REQUESTS_PER_MINUTE
  runtime_dir:
    env:
      - name: WDATP_RUNTIME_DIR
  config_dir:
    env:
      - name: WDATP_CONFIG_DIR
"""
