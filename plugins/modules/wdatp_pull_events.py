#!/usr/bin/python
# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: wdatp_pull_events
short_description: Pull Microsoft Defender alerts into a file for a SIEM
version_added: 0.1.0
author:
  - secops.defender contributors (@secops-defender)
description:
  - Fetches the alerts that are new or were updated since the last run, and appends each of them once to a file.
  - Where the last run ended is kept in O(state_dir), together with a ledger of the events that are known. An event is
    committed there before the cursor passes it, so an interrupted run loses nothing and repeats nothing.
  - The task's result has figures only, unless O(return_events) asks for alerts.
extends_documentation_fragment:
  - secops.defender._attributes
  - secops.defender._attributes.actiongroup_wdatp
  - secops.defender._connection
  - secops.defender._connection.patience
  - secops.defender._connection.identity
  - secops.defender._connection.target
  - secops.defender._connection.config_dir
  - secops.defender._pull
  - secops.defender._state
attributes:
  check_mode:
    support: full
    details:
      - Fetches and counts as a real run would, writes nothing and moves nothing.
  diff_mode:
    support: none
  idempotent:
    support: full
    details:
      - A second run writes only what has come in the meantime.
options:
  job:
    description:
      - The name of a job that M(secops.defender.wdatp_pull_job) has defined on this host. Its definition says what is
        pulled and where it goes; only O(since), O(until), O(reconcile), O(return_events), O(fail_on_error),
        O(config_dir) and O(state_dir) may be given with it.
      - The run is one of the job, with its cursors, its ledger and its outbox.
    type: str
  since:
    description:
      - Fetch from this time on, whatever the cursor says. An RFC 3339 time, or how far back from now, such as V(4h).
      - Events that are known count as duplicates and are not written again. The cursor never moves back, and not over
        a gap.
    type: str
  until:
    description:
      - Fetch up to this time. An RFC 3339 time, or how far back from now. Up to now where it is not given.
    type: str
  return_events:
    description:
      - Return so many of the newest events that this run wrote. V(0) keeps alert data out of the result.
    type: int
    default: 0
  fail_on_error:
    description:
      - Whether the task fails where a tenant or a destination is in error. All that works is done first in any case.
    type: bool
    default: true
  reconcile:
    description:
      - Ask whether everything is there. All events of the window are compared with what the ledger knows and with what
        the files hold, those included that rotation made of them (C(alerts.jsonl.1), C(alerts-20261125.jsonl.gz)).
      - The window begins at O(since), or O(initial_lookback) before its end.
      - V(report) names what is missing, writes nothing and moves nothing. It also checks the manifest.
      - V(fill) writes what is missing, to the files that lack it. A store that is corrupt is put aside first, and made
        anew from the API and the files.
      - Files that were moved elsewhere hold nothing any more. Choose a window for which the files are still there.
    type: str
    default: 'no'
    choices:
      - 'no'
      - report
      - fill
seealso:
  - module: secops.defender.wdatp_credential
  - module: secops.defender.wdatp_test_connectivity
  - plugin: secops.defender.wdatp_alerts
    plugin_type: lookup
"""

EXAMPLES = r"""
- name: Pull the alerts of a stored credential
  secops.defender.wdatp_pull_events:
    credential: contoso
    destinations:
      - path: /var/log/defender/alerts.jsonl
  register: pulled
  become: true

- name: Show what came
  ansible.builtin.debug:
    msg: "{{ pulled.new }} new, {{ pulled.updated }} updated, {{ pulled.lag_seconds }} s behind"

- name: Pull only what is serious, with who it is from, at most ten minutes long
  secops.defender.wdatp_pull_events:
    credential: contoso
    severity: [medium, high]
    max_seconds: 600
    destinations:
      - path: /var/log/defender/serious.jsonl
        format: envelope
  become: true

- name: Fetch the last 30 days once more; what is known is not written again
  secops.defender.wdatp_pull_events:
    credential: contoso
    since: 30d
    destinations:
      - path: /var/log/defender/alerts.jsonl
  become: true

- name: Ask whether all alerts of the last week are in the file
  secops.defender.wdatp_pull_events:
    credential: contoso
    since: 7d
    reconcile: report
    destinations:
      - path: /var/log/defender/alerts.jsonl
  register: checked
  failed_when: checked.reconciled.missing > 0 or checked.manifest.problems | length > 0
  become: true

- name: Pull with an identity from the environment (WDATP_TENANT_ID, WDATP_CLIENT_ID, WDATP_CLIENT_SECRET)
  secops.defender.wdatp_pull_events:
    state_dir: "{{ ansible_env.HOME }}/wdatp"
"""

RETURN = r"""
fetched:
  description: How many events the API returned, each counted once. The sum of the next three.
  returned: always
  type: int
  sample: 128
new:
  description: Events that were not known.
  returned: always
  type: int
  sample: 20
updated:
  description: New versions of known events.
  returned: always
  type: int
  sample: 3
duplicates:
  description: Events that were known in this version.
  returned: always
  type: int
  sample: 105
written:
  description: Events of this run that every destination has.
  returned: always
  type: int
  sample: 23
pending:
  description: Events, also of earlier runs, that a destination still lacks. They wait in the outbox.
  returned: always
  type: int
  sample: 0
complete:
  description:
    - Whether everything in the window was fetched.
    - False where a budget ended the run, where the service itself called its answer partial, where a moment could not
      be read (see RV(quarantined)), or after an error.
  returned: always
  type: bool
  sample: true
cursor:
  description: The newest update time that was reached, in Microsoft's own text.
  returned: where one tenant was pulled
  type: dict
  contains:
    before:
      description: Before this run. Null where there was none.
      type: str
      sample: "2026-11-24T08:12:55.1033333Z"
    after:
      description: After this run.
      type: str
      sample: "2026-11-24T08:17:04.25Z"
lag_seconds:
  description:
    - How many seconds behind Microsoft's clock the moment is up to which everything was fetched.
    - The largest of all tenants.
  returned: always
  type: int
  sample: 0
silent_seconds:
  description:
    - How many seconds ago the newest alert that was ever seen was updated, by Microsoft's clock.
    - The largest of all tenants. Null where none was ever seen. A source that has gone silent shows here.
  returned: always
  type: int
  sample: 251
requests:
  description: How many requests were sent, those for tokens included.
  returned: always
  type: int
  sample: 4
throttled:
  description: How many answers said that there were too many requests.
  returned: always
  type: int
  sample: 0
retried:
  description: How many requests were sent again.
  returned: always
  type: int
  sample: 0
quarantined:
  description:
    - How many moments could not be read and are still open, however long ago they were met.
    - An alert that makes every answer fail hides those that share its update time. They are put aside, the pull goes
      on, and each run tries them again.
  returned: always
  type: int
  sample: 0
duration_seconds:
  description: How long the pull took.
  returned: always
  type: float
  sample: 1.25
streams:
  description: One entry for each tenant, with the figures above and its error.
  returned: always
  type: list
  elements: dict
  sample:
    - api: graph_alerts
      complete: true
      credential: contoso
      cursor:
        after: "2026-11-24T08:17:04.25Z"
        before: "2026-11-24T08:12:55.1033333Z"
      duplicates: 105
      error: null
      fetched: 128
      lag_seconds: 0
      new: 20
      organization: null
      quarantined: 0
      requests: 4
      retried: 0
      silent_seconds: 251
      tenant_id: 11111111-2222-3333-4444-555555555555
      throttled: 0
      updated: 3
      written: 23
destinations:
  description: One entry for each destination.
  returned: always
  type: list
  elements: dict
  contains:
    type:
      description: What kind of destination it is.
      type: str
      sample: file
    target:
      description: The file's path.
      type: str
      sample: /var/log/defender/alerts.jsonl
    written:
      description: Events that were written to it in this run, those that had waited included.
      type: int
      sample: 23
    pending:
      description: Events that it still lacks.
      type: int
      sample: 0
    error:
      description: Why it lacks them, as C(code), C(message) and C(remedy). Null where nothing is wrong.
      type: dict
      sample: null
reconciled:
  description:
    - The events of the window, each version counted once, against what was delivered before this run.
    - C(api) is the sum of C(delivered), C(left_out) and C(missing).
  returned: with O(reconcile)
  type: dict
  contains:
    api:
      description: What the API has.
      type: int
      sample: 812
    delivered:
      description: What the ledger knows and every file holds, or what waits for a file in the outbox.
      type: int
      sample: 809
    left_out:
      description: Versions that O(updates) kept from the files.
      type: int
      sample: 0
    missing:
      description: What the ledger does not know, or a file does not hold.
      type: int
      sample: 3
    filled:
      description: What was missing and is there now.
      type: int
      sample: 3
    ids:
      description: The ids of what was missing, a thousand at most.
      type: list
      elements: str
      sample: ["da637578995287051192_756343937"]
manifest:
  description: The line that this run added to the manifest of O(state_dir), from which can be shown that nothing was
    removed.
  returned: always
  type: dict
  contains:
    path:
      description: The manifest.
      type: str
      sample: /var/lib/wdatp/manifest.jsonl
    run:
      description: The number of the run. Not in check mode and not with O(reconcile=report), which add no line.
      type: int
      sample: 288
    sha256:
      description: The hash of the line. The next line repeats it.
      type: str
      sample: 8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4
    runs:
      description: How many runs the manifest names. Only with O(reconcile).
      type: int
      sample: 288
    problems:
      description:
        - Lines of the manifest that were changed or removed, and runs whose events are not in the files as they were
          written. Only with O(reconcile).
      type: list
      elements: str
      sample: []
events:
  description: The newest events of this run, oldest first, as many as O(return_events) says.
  returned: always
  type: list
  elements: dict
  sample: []
error:
  description: What went wrong, and what to do.
  returned: on failure
  type: dict
  contains:
    code:
      description: Names the kind of error and never changes.
      type: str
      sample: auth.invalid_secret
    message:
      description: What is wrong and where.
      type: str
      sample: Microsoft Entra ID refused the client secret (AADSTS7000215).
    remedy:
      description: What to change.
      type: str
      sample: Copy the secret's value, not its ID.
"""

import typing as t

from ansible_collections.secops.defender.plugins.module_utils._module import Context, Failed, run
from ansible_collections.secops.defender.plugins.module_utils._wdatp.options import CONNECTION, PULL
from ansible_collections.secops.defender.plugins.module_utils._wdatp.pull import Context as Surroundings
from ansible_collections.secops.defender.plugins.module_utils._wdatp.pull import pull


def work(params: dict[str, t.Any], context: Context) -> dict[str, t.Any]:
    report = pull(params, Surroundings(context.redactor, context.warn, context.check_mode))
    result, failure = report.to_dict(), report.failure()
    if failure is None:
        return result
    if params["fail_on_error"]:
        raise Failed(failure, result)
    context.warn(str(failure))
    return result


def main() -> None:
    run((*CONNECTION, *PULL), work)


if __name__ == "__main__":
    main()
