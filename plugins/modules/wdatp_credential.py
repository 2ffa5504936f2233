#!/usr/bin/python
# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: wdatp_credential
short_description: Manage a stored credential for Microsoft Defender alerts
version_added: 0.1.0
author:
  - secops.defender contributors (@secops-defender)
description:
  - Stores under a name, on the host where it runs, who asks Microsoft for alerts (tenant, app registration, secret or
    certificate), whose tenant it is, and which API hosts it is for.
  - Everything that asks for alerts then takes the credential by its name, or by a host or an organization.
  - The definition is a file without secrets, C(<config_dir>/credentials/<name>.json), of mode 0640.
  - A secret that is given is kept apart from it, in C(<config_dir>/secrets/<name>.secret), of mode 0600 in a directory
    of mode 0700. A secret in O(client_secret_file) or in CyberArk (O(cyberark)) stays there, and is read when it is
    used. A secret that is neither given nor in one of these is not stored at all; whoever uses the credential then
    needs E(WDATP_CLIENT_SECRET) in the environment.
  - The definition is what the task says. An option that is left out is not kept from an earlier definition. The one
    exception are secrets, so that a task can change a definition without knowing them, see O(client_secret).
extends_documentation_fragment:
  - secops.defender._attributes
  - secops.defender._attributes.actiongroup_wdatp
  - secops.defender._connection.config_dir
  - secops.defender._connection.identity
  - secops.defender._connection.target
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - That a secret differs is shown, the secret is not.
  idempotent:
    support: full
    details:
      - Given secrets are compared with the stored ones themselves.
options:
  name:
    description:
      - Name of the credential. Letters, digits, dots, hyphens and underscores, at most 64 of them.
    type: str
    required: true
  state:
    description:
      - V(present) stores the credential, in place of an earlier one of this name.
      - V(absent) removes all that is stored under this name, its secrets too. Files that it only points to are left
        alone.
    type: str
    choices:
      - present
      - absent
    default: present
  tenant_id:
    description:
      - The tenant's ID, a GUID, or one of its domain names. Not together with O(tenants).
      - Where neither is given, E(WDATP_TENANT_ID) is taken and stored.
  client_id:
    description:
      - The application (client) ID of the app registration, a GUID. Required, except with
        O(auth_method=managed_identity) and with O(cyberark).
      - Where it is not given, E(WDATP_CLIENT_ID) is taken and stored, but not with O(cyberark), whose account's user
        name is the client ID then.
  client_secret:
    description:
      - The value of a client secret of the app registration, not the secret's ID.
      - Where it is left out (or empty), a secret that is already stored under this O(name) stays as long as the
        credential authenticates by client secret and has neither O(client_secret_file) nor O(cyberark). To be rid of
        it, set O(state=absent) first.
      - It is never taken from the environment into the store. Where none is stored, E(WDATP_CLIENT_SECRET) is read
        whenever the credential is used.
  client_secret_file:
    description:
      - A file that has the secret alone, on one line, on the host where this runs. An absolute path.
      - Only the path is stored. The file is read when the credential is used, so a rotated secret counts at once.
      - Not together with O(client_secret).
    type: path
  cyberark:
    description:
      - An account in CyberArk whose password is the client secret, and how to ask CyberArk's Central Credential
        Provider (CCP) for it. Its user name is the client ID where O(client_id) is not given.
      - Only this definition is stored. CCP is asked when the credential is used, once in each run, and once more where
        Microsoft Entra ID refuses the secret, so that a rotated one counts at once.
      - CCP is always asked directly, whatever O(proxy) and the environment say about proxies.
      - Not together with O(client_secret) or O(client_secret_file).
    type: dict
    suboptions:
      url:
        description:
          - Address of the CCP server, V(https://) with a host and perhaps a port and a path, up to the web service's
            name.
        type: str
        required: true
      webservice_id:
        description:
          - Name of CCP's web service, as it was chosen when CCP was installed.
        type: str
        default: AIMWebService
      app_id:
        description:
          - The application's name in CyberArk. It has to be a member of the safe, with I(Retrieve accounts).
        type: str
        required: true
      safe:
        description:
          - Name of the account's safe.
          - This and the six that follow say which account is meant. At least one is needed, and one account alone may
            fit all that are given. None of them may have a semicolon in it.
        type: str
      folder:
        description:
          - The account's folder. CyberArk's default is V(Root).
        type: str
      object:
        description:
          - The account's internal name.
        type: str
      username:
        description:
          - The account's user name, which for an app registration is its client ID.
        type: str
      address:
        description:
          - The account's address property, if it has one.
        type: str
      database:
        description:
          - The account's database property, if it has one.
        type: str
      policy_id:
        description:
          - ID of the account's platform.
        type: str
      query:
        description:
          - A query in CyberArk's own words, such as V(Safe=Defender;Object=wdatp-app), in place of the seven above.
        type: str
      query_format:
        description:
          - Whether the query's values are meant literally or as regular expressions. CyberArk's default is V(Exact).
        type: str
        choices:
          - Exact
          - Regexp
      reason:
        description:
          - Why the password is retrieved, for CyberArk's audit log. Some platforms demand it.
        type: str
      connection_timeout:
        description:
          - How long CCP waits for the vault, in seconds. CyberArk's default is 30.
        type: int
      fail_request_on_password_change:
        description:
          - Whether CCP gives an error while CyberArk changes the password, in place of a password that may be the old
            one. CyberArk's default is V(false). Either way it is tried again some seconds later.
        type: bool
      client_cert:
        description:
          - A PEM file with the certificate by which CCP knows this host, on the host where this runs. An absolute path.
        type: path
      client_key:
        description:
          - A PEM file with that certificate's key, not encrypted. Where it is left out, the key is in
            O(cyberark.client_cert).
        type: path
      ca_path:
        description:
          - A PEM file with the certificate authorities to trust for CCP. An absolute path. The O(ca_path) outside of
            O(cyberark) does not count for CCP.
        type: path
      validate_certs:
        description:
          - Whether CCP's certificate is checked. Set it to V(false) only on a test system.
        type: bool
        default: true
  auth_method:
    description:
      - How to authenticate.
      - V(auto) goes by what is given, O(client_certificate_path), then O(client_secret), O(client_secret_file) or
        O(cyberark), then O(federated_token_file), and is what happens where this option is not set. Where none of these
        is given, the environment decides by the variables of the same options.
  client_certificate_path:
    description:
      - A file with the app registration's certificate and private key, as PEM or as PFX, on the host where this runs.
        An absolute path. Only the path is stored.
  client_certificate_password:
    description:
      - The password of the private key in O(client_certificate_path).
      - It is kept, stored and left out in the same way as O(client_secret).
  federated_token_file:
    description:
      - A file with the token of a workload, which Microsoft Entra ID exchanges for its own. An absolute path.
      - Where it is not given, E(AZURE_FEDERATED_TOKEN_FILE) is read whenever the credential is used.
  details_file:
    description:
      - The file that the SIEM page of the Defender portal saved, on the host where this runs. Tenant, client and secret
        are taken from it, and the API's host into O(hosts), where these options don't say otherwise.
      - Its secret is stored as if it had been given. The file itself is not needed any more then.
      - How Microsoft writes the file is documented nowhere. Lines of names and values, and JSON, are understood.
    type: path
  secret_storage:
    description:
      - Where a given secret is kept.
      - V(file) is one file of mode 0600, C(<config_dir>/secrets/<name>.secret).
      - V(systemd_creds) is the same file encrypted with the host's own key by C(systemd-creds),
        C(<config_dir>/secrets/<name>.cred). Only root can read and write it, and only on this host. A unit of systemd
        can load it as C(LoadCredentialEncrypted=<name>.secret:<path>), and then needs no right to read it.
      - V(auto) is V(systemd_creds) where systemd 250 or later runs the host, and both the user who runs this and the
        owner of O(config_dir) are root; else V(file).
      - Never is anything sealed to a TPM.
    type: str
    choices:
      - auto
      - systemd_creds
      - file
    default: auto
  update_secret:
    description:
      - V(always) replaces a stored secret that differs from O(client_secret) (or O(client_certificate_password)).
      - V(on_create) stores them only where none is stored yet, for secrets that are rotated on the host itself.
    type: str
    choices:
      - always
      - on_create
    default: always
  organization:
    description:
      - Whose tenant this is. It goes along with the events, and others choose by it.
      - Not together with O(tenants).
    type: str
  tenants:
    description:
      - In place of O(tenant_id) and O(organization), the tenants of several customers who have all consented to one
        multi-tenant app registration, with one secret.
    type: list
    elements: dict
    suboptions:
      tenant_id:
        description:
          - The customer's tenant ID or one of its domain names.
        type: str
        required: true
      organization:
        description:
          - The customer's name, by which others choose. Case does not matter.
        type: str
        required: true
  hosts:
    description:
      - API hosts that this credential is associated with, for example V(wdatp-alertexporter-us.windows.com). Names
        only, perhaps with a port.
      - A task that gives O(secops.defender.wdatp_test_connectivity#module:host) and no identity then takes this
        credential, and a task that gives the credential and no host asks the first of these that serves the API.
      - One host may be associated with several credentials; others then choose by organization as well.
    type: list
    elements: str
  description:
    description:
      - A note for people.
    type: str
  cloud:
    description:
      - Microsoft's cloud, which says where to log in, which host to ask and whom the token is for.
      - Like all options that follow it here, it is stored only where it is given, and then counts for everything that
        uses this credential, unless told otherwise. Where it is left out, the user's own options and environment count.
  api_url:
    description:
      - Address of the API in place of the cloud's, V(https://) with a host and perhaps a port, without a path.
  authority_url:
    description:
      - Address of the login service in place of the cloud's, V(https://) with a host, without the tenant.
  scope:
    description:
      - Scope of the token in place of that of O(cloud) and O(api), for example
        V(https://api.securitycenter.microsoft.com/.default).
  api:
    description:
      - Which API is asked with this credential. Where it is left out, O(hosts) and the user decide.
  ca_path:
    description:
      - A PEM file with the certificate authorities to trust, on the host where this runs. An absolute path.
  validate_certs:
    description:
      - Whether the servers' certificates are checked. Set it to V(false) only on a test system.
  proxy:
    description:
      - A proxy for all requests, C(http://host:port) or C(http://user:password@host:port).
      - Its password is kept with the secrets, not in the definition. It always follows this option.
notes:
  - Options of another way to authenticate than the one that is used are an error, as are a path that is not absolute
    and settings that contradict each other. That a file exists is only checked when the credential is used.
  - When run as root, what this makes belongs to the owner of the directory that it is made in. So a C(config_dir) that
    belongs to an account without privileges can be used by that account.
  - A task's options can end up in a log by other ways than the result, such as a template of the play itself. Take
    secrets from a vault or a lookup, do not write them into a playbook.
seealso:
  - module: secops.defender.wdatp_credential_info
  - module: secops.defender.wdatp_test_connectivity
  - module: secops.defender.wdatp_pull_events
"""

EXAMPLES = r"""
- name: Define a credential with the secret from a vaulted variable, and associate hosts
  secops.defender.wdatp_credential:
    name: contoso
    organization: Contoso
    tenant_id: 0f3c1f6e-8f2b-4f5e-9d6b-1c2d3e4f5a6b
    client_id: 6d5c4b3a-2f1e-4d0c-8b9a-7f6e5d4c3b2a
    client_secret: "{{ vault_contoso_client_secret }}"
    hosts:
      - graph.microsoft.com
      - wdatp-alertexporter-us.windows.com
  become: true

- name: Leave the secret in a file that something else rotates
  secops.defender.wdatp_credential:
    name: contoso
    organization: Contoso
    tenant_id: contoso.onmicrosoft.com
    client_id: 6d5c4b3a-2f1e-4d0c-8b9a-7f6e5d4c3b2a
    client_secret_file: /run/secrets/contoso
    api: mde_alerts
  become: true

- name: Leave the secret in CyberArk, whose CCP knows this host by its certificate
  secops.defender.wdatp_credential:
    name: contoso
    organization: Contoso
    tenant_id: 0f3c1f6e-8f2b-4f5e-9d6b-1c2d3e4f5a6b
    cyberark:
      url: https://ccp.contoso.example
      app_id: defender-siem
      safe: Cloud-Applications
      object: wdatp-contoso
      client_cert: /etc/wdatp/ccp.pem
      client_key: /etc/wdatp/ccp.key
      ca_path: /etc/wdatp/contoso-ca.pem
  become: true

- name: One app registration for the customers of a service provider
  secops.defender.wdatp_credential:
    name: customers
    client_id: 6d5c4b3a-2f1e-4d0c-8b9a-7f6e5d4c3b2a
    client_secret: "{{ vault_customers_client_secret }}"
    tenants:
      - tenant_id: 0f3c1f6e-8f2b-4f5e-9d6b-1c2d3e4f5a6b
        organization: Contoso
      - tenant_id: 4b0d7a52-3c1e-4e8f-a7d9-5b6c7d8e9f01
        organization: Fabrikam
  become: true

- name: Authenticate with a certificate, in the cloud for the United States government
  secops.defender.wdatp_credential:
    name: agency
    tenant_id: 4b0d7a52-3c1e-4e8f-a7d9-5b6c7d8e9f01
    client_id: 6d5c4b3a-2f1e-4d0c-8b9a-7f6e5d4c3b2a
    client_certificate_path: /etc/wdatp/agency.pem
    cloud: gcc_high
  become: true

- name: Remove a credential and its secret
  secops.defender.wdatp_credential:
    name: contoso
    state: absent
  become: true
"""

RETURN = r"""
credential:
  description:
    - The credential as it is stored (in check mode, as it would be). No secret is ever in it.
    - Options that are not part of the definition are V(null).
  returned: when O(state=present)
  type: dict
  contains:
    name:
      description: Its name.
      type: str
      returned: always
    auth_method:
      description: How it authenticates. Never V(auto).
      type: str
      returned: always
    tenant_id:
      description: The tenant, where there is one.
      type: str
      returned: always
    organization:
      description: Whose tenant it is.
      type: str
      returned: always
    tenants:
      description: The tenants, where there are several, each with C(tenant_id) and C(organization).
      type: list
      elements: dict
      returned: always
    client_id:
      description: The app registration.
      type: str
      returned: always
    hosts:
      description: The hosts that it is associated with.
      type: list
      elements: str
      returned: always
    secret:
      description:
        - How the client secret is kept.
        - V(file) is the 0600 file, V(systemd_creds) the encrypted one, V(client_secret_file) the user's own,
          V(cyberark) an account in CyberArk; V(none) means that it is not stored.
      type: str
      returned: always
    cyberark:
      description: The account in CyberArk, in the form of the option, with its defaults.
      type: dict
      returned: always
    certificate_password:
      description: How the password of the certificate's key is kept, in the same words.
      type: str
      returned: always
    proxy_password:
      description: How the proxy's password is kept, in the same words.
      type: str
      returned: always
  sample:
    api: null
    api_url: null
    auth_method: client_secret
    authority_url: null
    ca_path: null
    certificate_password: none
    client_certificate_path: null
    client_id: 6d5c4b3a-2f1e-4d0c-8b9a-7f6e5d4c3b2a
    client_secret_file: null
    cloud: null
    cyberark: null
    description: null
    federated_token_file: null
    hosts:
      - wdatp-alertexporter-us.windows.com
    name: contoso
    organization: Contoso
    proxy: null
    proxy_password: none
    scope: null
    secret: file
    tenant_id: 0f3c1f6e-8f2b-4f5e-9d6b-1c2d3e4f5a6b
    tenants: []
    validate_certs: null
path:
  description: The file of the definition.
  returned: success
  type: str
  sample: /etc/wdatp/credentials/contoso.json
error:
  description: What went wrong, for machines. The same is in RV(ignore:msg) for people.
  returned: failure
  type: dict
  sample:
    code: option.conflict
    message: client_secret is given together with client_secret_file.
    remedy: Give one of them.
"""

from ansible_collections.secops.defender.plugins.module_utils._module import difference, run
from ansible_collections.secops.defender.plugins.module_utils._wdatp.definitions import define
from ansible_collections.secops.defender.plugins.module_utils._wdatp.options import CREDENTIAL


def work(params, context):
    outcome = define(params, check=context.check_mode, notify=context.warn)
    result = {"changed": outcome.changed, "path": outcome.path}
    if params["state"] == "present":
        result["credential"] = outcome.credential
    if context.diff:
        result["diff"] = difference(outcome.path, outcome.before, outcome.after)
    return result


def main():
    run(CREDENTIAL, work)


if __name__ == "__main__":
    main()
