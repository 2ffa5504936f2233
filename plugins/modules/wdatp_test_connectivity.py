#!/usr/bin/python
# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: wdatp_test_connectivity
short_description: Test the way to Microsoft Defender alerts, stage by stage
version_added: 0.1.0
author:
  - secops.defender contributors (@secops-defender)
description:
  - Tests, from the host where it runs, everything that is needed to read alerts, and says where the way ends and what
    to change there.
  - The stages are V(resolve) (name resolution), V(connect) (a TCP connection), V(tls) (the server's certificate),
    V(clock) (this host's clock and Microsoft's), V(token) (a token of Microsoft Entra ID), V(permissions) (the roles in
    the token) and V(query) (one alert is really asked for). The first three look at the login host and the API host, or
    at the proxy on the way to them.
  - It is quick and changes nothing, here or at Microsoft, so that monitoring can run it. It tries again at most once,
    whatever O(retries) says, and connects within 10 seconds, whatever O(timeout) says.
extends_documentation_fragment:
  - secops.defender._attributes
  - secops.defender._attributes.info_module
  - secops.defender._attributes.actiongroup_wdatp
  - secops.defender._connection
  - secops.defender._connection.patience
  - secops.defender._connection.config_dir
  - secops.defender._connection.identity
  - secops.defender._connection.target
options:
  fail_on_error:
    description:
      - Whether the task fails where a stage does. The message is then that stage's detail and remedy.
      - Options that make no sense, or a credential that is not there, fail the task always.
    type: bool
    default: true
seealso:
  - module: secops.defender.wdatp_credential
  - module: secops.defender.wdatp_pull_events
"""

EXAMPLES = r"""
- name: Test a stored credential
  secops.defender.wdatp_test_connectivity:
    credential: contoso
  become: true

- name: Test what is associated with a host, for one of several customers
  secops.defender.wdatp_test_connectivity:
    host: wdatp-alertexporter-us.windows.com
    organization: Contoso
  become: true

- name: Test an app registration before it is stored
  secops.defender.wdatp_test_connectivity:
    tenant_id: 0f3c1f6e-8f2b-4f5e-9d6b-1c2d3e4f5a6b
    client_id: 6d5c4b3a-2f1e-4d0c-8b9a-7f6e5d4c3b2a
    client_secret: "{{ vault_defender_secret }}"
    cloud: gcc_high

- name: Look how far it gets, without failing
  secops.defender.wdatp_test_connectivity:
    credential: contoso
    fail_on_error: false
  register: test
  become: true

- name: Show the stages
  ansible.builtin.debug:
    msg: "{{ item.name }}: {{ item.detail }} {{ item.remedy }}"
  loop: "{{ test.stages }}"
  loop_control:
    label: "{{ item.name }}"
"""

RETURN = r"""
reachable:
  description: Whether all stages passed.
  returned: when the options make sense
  type: bool
  sample: true
stages:
  description: The stages in their order. The first that fails is the last one; those after it are absent.
  returned: when the options make sense
  type: list
  elements: dict
  contains:
    name:
      description: Which stage.
      type: str
      choices:
        - resolve
        - connect
        - tls
        - clock
        - token
        - permissions
        - query
      sample: tls
    ok:
      description: Whether it passed.
      type: bool
      sample: true
    ms:
      description: How long it took, in milliseconds.
      type: int
      sample: 41
    detail:
      description: What was found.
      type: str
      sample: this host's clock is right
    remedy:
      description: What to change. Empty where nothing needs to be.
      type: str
      sample: ''
token_roles:
  description: The roles in the token (application permissions), where it can be read. Empty until there is one.
  returned: when the options make sense
  type: list
  elements: str
  sample:
    - SecurityAlert.Read.All
token_expires_in:
  description: For how many seconds the token is good; V(null) where there was none.
  returned: when the options make sense
  type: int
  sample: 3599
clock_skew_seconds:
  description:
    - How many seconds this host's clock is ahead of Microsoft's (negative where it is behind); V(null) where that
      was not found out.
  returned: when the options make sense
  type: int
  sample: 0
secret_expires:
  description:
    - When the certificate expires. V(null) for a client secret, whose end no API tells without another permission, and
      where the test did not get so far.
    - The module warns four weeks before.
  returned: when the options make sense
  type: str
  sample: "2027-03-01T00:00:00Z"
secret_days_left:
  description: How many days those are.
  returned: when the options make sense
  type: int
  sample: 95
host:
  description: The API's host, perhaps with a port.
  returned: when the options make sense
  type: str
  sample: graph.microsoft.com
api:
  description: The API.
  returned: when the options make sense
  type: str
  sample: graph_alerts
organization:
  description: Whose tenant it is; V(null) where nobody said so.
  returned: when the options make sense
  type: str
  sample: Contoso
error:
  description: What went wrong, for machines. The same is in RV(ignore:msg) for people.
  returned: failure
  type: dict
  contains:
    code:
      description: A stable name of the error.
      type: str
      sample: auth.expired_secret
    message:
      description: What is wrong, and where.
      type: str
    remedy:
      description: What to change.
      type: str
"""

from ansible_collections.secops.defender.plugins.module_utils._module import Failed, run
from ansible_collections.secops.defender.plugins.module_utils._wdatp.config import resolve_one
from ansible_collections.secops.defender.plugins.module_utils._wdatp.options import CONNECTIVITY


def work(params, context):
    connection = resolve_one(params)
    # Here, so that a task with nonsense in its options doesn't wait for it.
    from ansible_collections.secops.defender.plugins.module_utils._wdatp import connectivity
    from ansible_collections.secops.defender.plugins.module_utils._wdatp.runtime import runtime_of

    runtime = runtime_of(params, context.warn, context.check_mode, insists=True)
    report = connectivity.test(connection, context.redactor, context.warn, runtime)
    if report.warning:
        context.warn(report.warning)
    result = {"changed": False, **report.to_dict()}
    if report.error is not None and params["fail_on_error"]:
        raise Failed(report.error, result)
    return result


def main():
    run(CONNECTIVITY, work)


if __name__ == "__main__":
    main()
