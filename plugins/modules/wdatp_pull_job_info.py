#!/usr/bin/python
# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: wdatp_pull_job_info
short_description: Say how the pull jobs of a collector are
version_added: 0.1.0
author:
  - secops.defender contributors (@secops-defender)
description:
  - Returns the definitions of the pull jobs on the host where this runs, and how each of their tenants is doing.
  - It reads the state on this host and asks nobody, also while a job runs.
extends_documentation_fragment:
  - secops.defender._attributes
  - secops.defender._attributes.info_module
  - secops.defender._attributes.actiongroup_wdatp
  - secops.defender._connection.config_dir
  - secops.defender._state
options:
  name:
    description:
      - Only the job of this name, which has to exist. All jobs where it is not given.
    type: str
seealso:
  - module: secops.defender.wdatp_pull_job
"""

EXAMPLES = r"""
- name: See how the jobs are doing
  secops.defender.wdatp_pull_job_info:
  register: found
  become: true

- name: Stop where a tenant has been failing, or is more than an hour behind
  ansible.builtin.assert:
    that:
      - streams | selectattr('last_error') | list | length == 0
      - (streams | map(attribute='lag_seconds') | select | list + [0]) | max < 3600
  vars:
    streams: "{{ found.jobs | map(attribute='streams') | flatten }}"
"""

RETURN = r"""
jobs:
  description:
    - The jobs by name. Each has all options of its definition, see RV(secops.defender.wdatp_pull_job#module:job), and
      the following.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The job's name.
      type: str
      sample: default
    defined_at:
      description: When the definition was written.
      type: str
      sample: "2026-11-24T07:00:00Z"
    is_running:
      description: Whether a run is under way.
      type: bool
      sample: false
    last_run:
      description:
        - When the last run began and ended, whether it was complete, and its figures, which are those of
          M(secops.defender.wdatp_pull_events). Nothing where there was none.
      type: dict
      sample:
        began: "2026-11-24T08:15:00Z"
        complete: true
        duplicates: 105
        duration_seconds: 1.25
        ended: "2026-11-24T08:15:01Z"
        failed: 0
        fetched: 128
        lag_seconds: 0
        new: 20
        pending: 0
        quarantined: 0
        requests: 3
        retried: 0
        tenants: 1
        throttled: 0
        updated: 3
        written: 23
    pending:
      description: Events that at least one destination lacks.
      type: int
      sample: 0
    oldest_pending:
      description: Since when the oldest of them has been waiting.
      type: str
      sample: null
    delivery:
      description: The destinations, and how many events wait for each.
      type: list
      elements: dict
      sample:
        - target: /var/log/defender/alerts.jsonl
          pending: 0
    streams:
      description: One entry for each tenant and API, as its last attempt ended.
      type: list
      elements: dict
      contains:
        tenant_id:
          description: The tenant, as its credential names it.
          type: str
          sample: 0f3c1f6e-8f2b-4f5e-9d6b-1c2d3e4f5a6b
        organization:
          description: Whose it is.
          type: str
          sample: Contoso
        credential:
          description: The stored credential.
          type: str
          sample: contoso
        api:
          description: The API.
          type: str
          sample: graph_alerts
        cursor:
          description: The newest update time that was reached, the API's own text.
          type: str
          sample: "2026-11-24T08:14:04.25Z"
        lag_seconds:
          description: How far behind Microsoft's clock the moment lies by now up to which everything was fetched.
          type: int
          sample: 61
        last_attempt:
          description: When it was asked last.
          type: str
          sample: "2026-11-24T08:15:01Z"
        last_success:
          description: When that succeeded last.
          type: str
          sample: "2026-11-24T08:15:01Z"
        last_error:
          description: What is wrong, what to do, and since when. Nothing where the last attempt succeeded.
          type: dict
          sample: null
        failures:
          description: How often it has failed in a row.
          type: int
          sample: 0
        next_attempt:
          description: Not asked again before this time, as it keeps failing.
          type: str
          sample: null
        pending:
          description: Its events in the outbox.
          type: int
          sample: 0
        quarantined:
          description: Moments that could not be read yet.
          type: int
          sample: 0
        secret_expires:
          description: When the certificate ends. Nobody can know that of a client secret.
          type: str
          sample: null
        secret_days_left:
          description: The same in days from now.
          type: int
          sample: null
    error:
      description: Why the job's definition or state can't be read. Nothing where it can.
      type: dict
      sample: null
error:
  description: What went wrong, for machines. The same is in RV(ignore:msg) for people.
  returned: failure
  type: dict
  sample:
    code: job.unknown
    message: There is no job 'nightly' under /etc/wdatp; there are default.
    remedy: Name one of them, or define it with the module secops.defender.wdatp_pull_job.
"""

from ansible_collections.secops.defender.plugins.module_utils._module import run
from ansible_collections.secops.defender.plugins.module_utils._wdatp.options import JOB_INFO
from ansible_collections.secops.defender.plugins.module_utils._wdatp.status import job_infos


def work(params, context):
    return {"changed": False, "jobs": job_infos(params["config_dir"], params["state_dir"], params["name"])}


def main():
    run(JOB_INFO, work)


if __name__ == "__main__":
    main()
