# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: wdatp_alerts
short_description: Recent Microsoft Defender alerts
version_added: 0.1.0
author:
  - secops.defender contributors (@secops-defender)
description:
  - Asks the API for the newest alerts and returns them as dictionaries, newest first.
  - Moves no cursor and writes nothing, so it never takes an alert from M(secops.defender.wdatp_pull_events).
  - Runs on the controller. Ansible evaluates a lookup each time its variable is used, so register the result of a task
    where it is needed more than once.
extends_documentation_fragment:
  - secops.defender._connection
  - secops.defender._connection.patience
  - secops.defender._connection.identity
  - secops.defender._connection.target
  - secops.defender._connection.config_dir
  - secops.defender._connection.plugin
options:
  _terms:
    description:
      - Names of stored credentials. Where there is none, O(credential), the identity in the options or that in the
        environment is used.
    type: list
    elements: str
  since:
    description:
      - How far back to look, such as V(15m) or V(4h), or an RFC 3339 time. It is compared with the alerts' update time.
    type: str
    default: 15m
  until:
    description:
      - Up to when. Up to now where it is not given.
    type: str
  severity:
    description:
      - Only alerts of these severities.
    type: list
    elements: str
  status:
    description:
      - Only alerts with these statuses. Not for O(api=alert_exporter).
    type: list
    elements: str
  category:
    description:
      - Only alerts of these categories. Not for O(api=graph_incidents).
    type: list
    elements: str
  expand:
    description:
      - Ask for the evidence of alerts (O(api=mde_alerts)) and for the alerts of incidents (O(api=graph_incidents)).
    type: bool
    default: true
  limit:
    description:
      - Return at most so many alerts, the newest of them.
    type: int
    default: 100
  max_bytes:
    description:
      - Return at most so many bytes of alerts, the newest of them.
    type: int
    default: 10000000
notes:
  - The text of an alert can be written by an attacker. Pass it on as data, never as a template.
seealso:
  - module: secops.defender.wdatp_pull_events
"""

EXAMPLES = r"""
- name: Show the serious alerts of the last 15 minutes
  ansible.builtin.debug:
    msg: "{{ item.lastUpdateDateTime }} {{ item.severity }} {{ item.title }}"
  loop: "{{ query('secops.defender.wdatp_alerts', 'contoso', severity=['high', 'medium']) }}"
  loop_control:
    label: "{{ item.id }}"

- name: Stop a rollout while there are new alerts of high severity
  ansible.builtin.assert:
    that: query('secops.defender.wdatp_alerts', 'contoso', since='1h', severity=['high'], status=['new']) | length == 0
    fail_msg: There are new alerts of high severity.
"""

RETURN = r"""
_raw:
  description:
    - The alerts, newest first, as Microsoft describes them for the API that was asked.
  type: list
  elements: dict
"""

import typing as t

from ansible.plugins.lookup import LookupBase
from ansible_collections.secops.defender.plugins.module_utils._wdatp.options import LOOKUP
from ansible_collections.secops.defender.plugins.module_utils._wdatp.pull import Context
from ansible_collections.secops.defender.plugins.module_utils._wdatp.recent import recent
from ansible_collections.secops.defender.plugins.plugin_utils._lookup import (
    check_call,
    guarded,
    option_values,
)


class LookupModule(LookupBase):
    def run(self, terms: list[str], variables: dict[str, t.Any] | None = None, **kwargs: t.Any) -> list[t.Any]:
        check_call(LOOKUP, kwargs)
        self.set_options(var_options=variables, direct=kwargs)
        values = option_values(self, LOOKUP, kwargs)

        def work(context: Context) -> list[t.Any]:
            names = terms or [values["credential"]]
            return recent([{**values, "credential": name} for name in names], context)

        return guarded(work, LOOKUP, values)
