#!/usr/bin/python
# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: wdatp_report
short_description: Report the newest Microsoft Defender alerts
version_added: 0.1.0
author:
  - secops.defender contributors (@secops-defender)
description:
  - Reports the events of the last 15 minutes, or of any window, by their update time, as a table, as JSON, or as one
    page of HTML that needs nothing else.
  - What this host received is kept for reports for 7 days, a few short texts of each event and no second copy of it.
    With O(source=api), Microsoft is asked instead; no cursor moves, and nothing is received.
  - Alert data is part of the result. Who runs this in a controller has it in the job's log, unless C(no_log) is set.
extends_documentation_fragment:
  - secops.defender._attributes
  - secops.defender._attributes.actiongroup_wdatp
  - secops.defender._connection
  - secops.defender._connection.patience
  - secops.defender._connection.identity
  - secops.defender._connection.target
  - secops.defender._connection.config_dir
  - secops.defender._state
attributes:
  check_mode:
    support: full
    details:
      - The report is made, and O(dest) is not written.
  diff_mode:
    support: none
  idempotent:
    support: full
    details:
      - Without O(dest) nothing is changed. With it, the task is changed when the file says something else than before;
        that the window has moved on does not count.
options:
  source:
    description:
      - V(store) is what this host received, with and without jobs. The options of a connection don't matter then.
      - V(api) asks Microsoft.
    type: str
    default: store
    choices:
      - store
      - api
  since:
    description:
      - From when on. An RFC 3339 time, or how far back from now, such as V(4h).
    type: str
    default: 15m
  until:
    description:
      - Up to when. Up to now where it is not given.
    type: str
  severity:
    description:
      - Only events of these severities, V(unknown), V(informational), V(low), V(medium), V(high).
    type: list
    elements: str
  status:
    description:
      - Only events with these statuses, such as V(new). The alert exporter knows none.
    type: list
    elements: str
  organization:
    description:
      - Only events of these organizations. Case does not matter.
    type: list
    elements: str
  format:
    description:
      - What is written to O(dest).
    type: str
    default: table
    choices:
      - table
      - json
      - html
  dest:
    description:
      - Write the report to this file, on the host where this runs. Its directory has to exist.
    type: path
  limit:
    description:
      - At most so many events, the newest. RV(counts) and RV(total) count all.
    type: int
    default: 1000
  columns:
    description:
      - How many columns of letters the table may take, at least 60.
    type: int
    default: 120
seealso:
  - module: secops.defender.wdatp_pull_events
  - plugin: secops.defender.wdatp_alerts
    plugin_type: lookup
"""

EXAMPLES = r"""
- name: Get the events of the last 15 minutes
  secops.defender.wdatp_report:
  register: found
  become: true

- name: Show them
  ansible.builtin.debug:
    msg: "{{ found.text }}"

- name: Write a page of yesterday's serious events, to be mailed
  secops.defender.wdatp_report:
    since: 24h
    severity: [medium, high]
    format: html
    dest: /var/log/defender/yesterday.html
  become: true

- name: Ask Microsoft for the last hour of one customer
  secops.defender.wdatp_report:
    source: api
    credential: customers
    organization: [Contoso]
    since: 1h
    format: json
    dest: /var/log/defender/contoso.json
  become: true
"""

RETURN = r"""
events:
  description:
    - The events, newest first. Texts are cut after 200 characters.
    - A field that the event does not have is an empty text.
  returned: success
  type: list
  elements: dict
  contains:
    time:
      description: When it was updated.
      type: str
      sample: "2026-11-24T08:14:04.2500000Z"
    received:
      description: When this host has written it. Nothing with O(source=api).
      type: str
      sample: "2026-11-24T08:15:01.0000000Z"
    severity:
      description: How serious it is, in the same words for all APIs.
      type: str
      sample: high
    title:
      description: What it is.
      type: str
      sample: Suspicious shell command line on Linux server
    status:
      description: Its status.
      type: str
      sample: new
    machine:
      description: The first device that it names.
      type: str
      sample: k8s-node-4.contoso.example
    user:
      description: The first account that it names.
      type: str
      sample: jmueller
    organization:
      description: Whose it is.
      type: str
      sample: Contoso
    id:
      description: Its ID.
      type: str
      sample: da637551227677560813_-961444813
    api:
      description: The API that it came from.
      type: str
      sample: graph_alerts
    tenant_id:
      description: The tenant.
      type: str
      sample: 0f3c1f6e-8f2b-4f5e-9d6b-1c2d3e4f5a6b
counts:
  description: How many there are of each severity, those beyond O(limit) too.
  returned: success
  type: dict
  sample:
    high: 1
    medium: 2
    low: 0
    informational: 0
    unknown: 0
total:
  description: How many there are.
  returned: success
  type: int
  sample: 3
text:
  description: The report as a table.
  returned: success
  type: str
  sample: "TIME UTC SEVERITY STATUS     DEVICE / USER ..."
notes:
  description: What a reader should know, such as that older events are not kept.
  returned: success
  type: list
  elements: str
  sample: []
source:
  description: Where the events are from.
  returned: success
  type: str
  sample: store
since:
  description: From when on.
  returned: success
  type: str
  sample: "2026-11-24T08:00:00.0000000Z"
until:
  description: Up to when.
  returned: success
  type: str
  sample: "2026-11-24T08:15:00.0000000Z"
dest:
  description: The file.
  returned: success, with O(dest)
  type: str
  sample: /var/log/defender/yesterday.html
error:
  description: What went wrong, for machines. The same is in RV(ignore:msg) for people.
  returned: failure
  type: dict
  sample:
    code: option.invalid
    message: "since: 'soon' is neither a time nor a duration."
    remedy: "Write an RFC 3339 time such as 2026-11-24T08:00:00Z, or how far back from now: 15m, 4h, 30d."
"""

from ansible_collections.secops.defender.plugins.module_utils._module import run
from ansible_collections.secops.defender.plugins.module_utils._wdatp.options import REPORT
from ansible_collections.secops.defender.plugins.module_utils._wdatp.pull import Context as Surroundings
from ansible_collections.secops.defender.plugins.module_utils._wdatp.report import report


def work(params, context):
    return report(params, Surroundings(context.redactor, context.warn, context.check_mode))


def main():
    run(REPORT, work)


if __name__ == "__main__":
    main()
