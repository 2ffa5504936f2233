#!/usr/bin/python
# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: wdatp_credential_info
short_description: List the stored credentials for Microsoft Defender alerts
version_added: 0.1.0
author:
  - secops.defender contributors (@secops-defender)
description:
  - Lists the credentials that M(secops.defender.wdatp_credential) has stored on the host where this runs, without their
    secrets.
  - Several filters together must all fit.
extends_documentation_fragment:
  - secops.defender._attributes
  - secops.defender._attributes.info_module
  - secops.defender._attributes.actiongroup_wdatp
  - secops.defender._connection.config_dir
options:
  name:
    description:
      - Only the credential of this name. Where there is none, the list is empty.
    type: str
  host:
    description:
      - Only credentials that are associated with this host.
    type: str
  organization:
    description:
      - Only credentials that serve this organization. Case does not matter.
    type: str
seealso:
  - module: secops.defender.wdatp_credential
"""

EXAMPLES = r"""
- name: List all stored credentials
  secops.defender.wdatp_credential_info:
  register: stored
  become: true

- name: Show which tenants they are for
  ansible.builtin.debug:
    msg: "{{ stored.credentials | map(attribute='tenant_id') | select | list
      + stored.credentials | map(attribute='tenants') | flatten | map(attribute='tenant_id') | list }}"

- name: Find the credential of a customer
  secops.defender.wdatp_credential_info:
    host: wdatp-alertexporter-us.windows.com
    organization: Contoso
  register: customer
  become: true
"""

RETURN = r"""
credentials:
  description:
    - The stored credentials, by name. Each has the form that is described in
      RV(secops.defender.wdatp_credential#module:credential).
    - A store that does not exist is empty.
  returned: success
  type: list
  elements: dict
  sample:
    - api: null
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
error:
  description: What went wrong, for machines. The same is in RV(ignore:msg) for people.
  returned: failure
  type: dict
  sample:
    code: credential.denied
    message: "The credential store /etc/wdatp/credentials can't be read: Permission denied."
    remedy: >-
      Run this as a user who may (become: true for /etc/wdatp), or set config_dir to a directory of your own.
"""

from ansible_collections.secops.defender.plugins.module_utils._module import run
from ansible_collections.secops.defender.plugins.module_utils._wdatp.credentials import CredentialStore
from ansible_collections.secops.defender.plugins.module_utils._wdatp.options import CREDENTIAL_INFO


def work(params, context):
    found = CredentialStore(params["config_dir"]).find(params["host"], params["organization"], params["name"])
    return {"changed": False, "credentials": [item.describe() for item in found]}


def main():
    run(CREDENTIAL_INFO, work)


if __name__ == "__main__":
    main()
