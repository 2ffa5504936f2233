# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is pulled and where it goes: of one pull, and of a job. Private to this collection."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  initial_lookback:
    description:
      - How far back the very first run goes.
    type: str
    default: 1d
  overlap:
    description:
      - How far each run reads back behind the cursor, for alerts that Microsoft makes visible late.
      - V(auto) begins with 30 minutes and learns from the tenant. It is twice as long as alerts came late at most in
        the last 30 days, up to a day.
      - The ledger keeps what is read again from being written again.
    type: str
    default: auto
  page_size:
    description:
      - How many alerts to ask for at a time. The API's own default where it is not given.
      - A larger number than the API allows is taken down to that, with a warning.
    type: int
  expand:
    description:
      - Ask for the evidence of alerts (API C(mde_alerts)) and for the alerts of incidents (API C(graph_incidents)).
    type: bool
    default: true
  updates:
    description:
      - Which versions of an alert are written. Microsoft returns an alert anew with a new update time when it changes.
      - V(all) writes each version once.
      - V(latest) leaves out a version that is older than one that was written.
      - V(new_only) writes only the first version.
      - V(changed) leaves out a version in which nothing but the update time is new.
    type: str
    default: all
    choices:
      - all
      - latest
      - new_only
      - changed
  severity:
    description:
      - Only events of these severities, such as V(high). Each set of filters has a cursor of its own.
    type: list
    elements: str
  status:
    description:
      - Only events with these statuses, such as V(new). Not for the API C(alert_exporter).
    type: list
    elements: str
  category:
    description:
      - Only events of these categories, such as V(Malware). Not for the API C(graph_incidents).
    type: list
    elements: str
  max_events:
    description:
      - End the run after so many written events. The next run goes on exactly there.
    type: int
  max_seconds:
    description:
      - End the run after so many seconds, at the next border of a page. The next run goes on exactly there.
      - A run always gets at least a page further than the one before, however long it takes to get there.
    type: int
  max_bytes:
    description:
      - End the run once so many bytes of alerts were written. The next run goes on exactly there.
    type: int
  max_parallel:
    description:
      - How many tenants are asked at the same time. Those that take long, because they are slow or ask to be left alone
        for a while, don't count.
    type: int
    default: 8
  destinations:
    description:
      - Where the events go. One file, C(events.jsonl) in O(state_dir), where nothing is given.
      - A destination that can't take them holds up neither the pull nor the others, its events wait in the outbox.
      - Destinations of one task share cursors and ledger, and keep them when one is added (it begins with what comes
        from then on) or taken away. Tasks with other destinations have their own.
    type: list
    elements: dict
    suboptions:
      type:
        description:
          - V(file) is a file to which one line is appended for each event.
        type: str
        default: file
        choices:
          - file
      path:
        description:
          - The file. Its directory has to exist when something is written. C(events.jsonl) in O(state_dir) where
            nothing is given.
        type: path
      format:
        description:
          - V(raw) is the alert's own JSON text as Microsoft sent it, on one line.
          - V(envelope) is that text as C(alert) beside C(wdatp), which has the credential, the organization, the
            tenant, the API, the time of receipt, the event's id and a rising sequence number.
        type: str
        default: raw
        choices:
          - raw
          - envelope
"""
