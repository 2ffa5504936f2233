#!/usr/bin/python
# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: wdatp_pull_job
short_description: Define what a collector pulls on its own
version_added: 0.1.0
author:
  - secops.defender contributors (@secops-defender)
description:
  - Stores the definition of a pull job on the host where this runs. The command C(wdatp pull) runs it, and so does
    M(secops.defender.wdatp_pull_events) with its option C(job).
  - The definition is checked as a whole before anything is written. It holds no secret, only names of credentials.
  - This module schedules nothing. The role P(secops.defender.pull_job#role) deploys a whole collector, with its timer.
extends_documentation_fragment:
  - secops.defender._attributes
  - secops.defender._attributes.actiongroup_wdatp
  - secops.defender._connection.config_dir
  - secops.defender._connection.patience
  - secops.defender._pull
  - secops.defender._state
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  name:
    description:
      - The job's name.
    type: str
    default: default
  state:
    description:
      - V(absent) removes the definition. What the job has received and knows stays in O(state_dir).
    type: str
    default: present
    choices:
      - present
      - absent
  credentials:
    description:
      - For which stored credentials the job pulls. For all that are stored when it runs, where nothing is given.
    type: list
    elements: str
  organizations:
    description:
      - Only the tenants of these organizations. Case does not matter.
    type: list
    elements: str
  apis:
    description:
      - Which APIs are asked, for each tenant. What the credential or its host says, else C(graph_alerts), where nothing
        is given.
    type: list
    elements: str
    choices:
      - graph_alerts
      - graph_incidents
      - mde_alerts
      - alert_exporter
  interval:
    description:
      - How often the job runs, such as V(5m) or V(1h), at least V(10s). A tenant that takes longer in a run that was
        scheduled goes on in the next one.
    type: str
    default: 5m
  enabled:
    description:
      - Whether the job runs when its time has come.
    type: bool
    default: true
  heartbeat:
    description:
      - Whether each run writes an event of its own to the destinations, for a SIEM that watches for silence.
    type: bool
    default: false
  metrics_path:
    description:
      - A file that each run writes for the textfile collector of Prometheus' node exporter. Its directory has to exist
        and to be writable by the job's user.
    type: path
  collectors:
    description:
      - The names of all collectors that share the tenants of this job. Each tenant belongs to one of them. When one is
        added, it takes a share from each of the others, and nothing else moves.
      - Together with O(collector).
    type: list
    elements: str
  collector:
    description:
      - Which of O(collectors) this host is.
    type: str
notes:
  - A job takes nothing from the environment but O(runtime_dir), O(token_cache) and secrets.
seealso:
  - module: secops.defender.wdatp_pull_job_info
  - module: secops.defender.wdatp_credential
  - module: secops.defender.wdatp_pull_events
"""

EXAMPLES = r"""
- name: Pull for all stored credentials, every five minutes
  secops.defender.wdatp_pull_job:
    destinations:
      - path: /var/log/defender/alerts.jsonl
  become: true

- name: Pull what is serious for two customers, from two APIs
  secops.defender.wdatp_pull_job:
    name: serious
    organizations: [Contoso, Fabrikam]
    apis: [graph_alerts, graph_incidents]
    severity: [medium, high]
    interval: 1m
    heartbeat: true
    destinations:
      - path: /var/log/defender/serious.jsonl
        format: envelope
  become: true

- name: Share the tenants among all hosts of the play
  secops.defender.wdatp_pull_job:
    collectors: "{{ ansible_play_hosts_all }}"
    collector: "{{ inventory_hostname }}"
  become: true

- name: Remove a job
  secops.defender.wdatp_pull_job:
    name: serious
    state: absent
  become: true
"""

RETURN = r"""
job:
  description: The definition, every option of it. Nothing with O(state=absent).
  returned: success
  type: dict
  sample:
    apis: null
    category: null
    collector: null
    collectors: null
    credentials: null
    destinations:
      - path: /var/log/defender/alerts.jsonl
        format: raw
        type: file
    enabled: true
    expand: true
    heartbeat: false
    initial_lookback: 1d
    interval: 5m
    max_bytes: null
    max_events: null
    max_parallel: 8
    max_seconds: null
    metrics_path: null
    name: default
    organizations: null
    overlap: auto
    page_size: null
    requests_per_minute: null
    retries: 5
    runtime_dir: null
    severity: null
    status: null
    timeout: 30
    token_cache: null
    updates: all
path:
  description: The file of the definition.
  returned: success
  type: str
  sample: /etc/wdatp/jobs/default.json
error:
  description: What went wrong, for machines. The same is in RV(ignore:msg) for people.
  returned: failure
  type: dict
  sample:
    code: credential.unknown
    message: There is no stored credential 'contoso' under /etc/wdatp; there are fabrikam.
    remedy: Name one of them, or define it with the module secops.defender.wdatp_credential.
"""

from ansible_collections.secops.defender.plugins.module_utils._module import difference, run
from ansible_collections.secops.defender.plugins.module_utils._wdatp.jobdefinitions import define_job
from ansible_collections.secops.defender.plugins.module_utils._wdatp.options import JOB


def work(params, context):
    outcome = define_job(params, check=context.check_mode)
    result = {"changed": outcome.changed, "job": outcome.job, "path": outcome.path}
    if context.diff:
        result["diff"] = difference(outcome.path, outcome.before, outcome.after)
    return result


def main():
    run(JOB, work)


if __name__ == "__main__":
    main()
