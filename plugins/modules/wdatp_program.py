#!/usr/bin/python
# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: wdatp_program
short_description: Write the command wdatp onto a collector
version_added: 0.1.0
author:
  - secops.defender contributors (@secops-defender)
description:
  - Writes the collector's program, one file that Python runs, made of the very sources that Ansible brings along with
    this module. So it is never older than the collection, and nothing has to be downloaded or built.
  - The file is the same, byte for byte, wherever and with whichever ansible-core it was made.
  - The role P(secops.defender.pull_job#role) uses this module, and also brings the Python libraries that the program
    needs.
extends_documentation_fragment:
  - secops.defender._attributes
  - secops.defender._attributes.actiongroup_wdatp
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Shows version and hash.
  idempotent:
    support: full
options:
  path:
    description:
      - Where the program is. Its directory has to exist.
      - A file there that is something else is left alone, and the task fails.
    type: path
    default: /usr/local/bin/wdatp
  state:
    description:
      - V(absent) removes the program and nothing else.
    type: str
    default: present
    choices:
      - present
      - absent
  python:
    description:
      - The Python that runs the program, and that has the libraries C(requests) and C(msal), for example that of a
        virtual environment. It is run isolated (C(-I)).
      - Where it is not given, C(/usr/bin/python3) is used, else the Python that runs this module.
    type: path
  allow_downgrade:
    description:
      - Whether a program of a newer version may be replaced. A store that the newer one has changed can't be read then.
    type: bool
    default: false
seealso:
  - module: secops.defender.wdatp_pull_job
"""

EXAMPLES = r"""
- name: Write the program, for the distribution's packages of requests and msal
  secops.defender.wdatp_program:
  become: true

- name: Write the program, for the libraries of a virtual environment
  secops.defender.wdatp_program:
    python: /opt/wdatp/bin/python
  become: true

- name: Remove the program
  secops.defender.wdatp_program:
    state: absent
  become: true
"""

RETURN = r"""
path:
  description: The program.
  returned: success
  type: str
  sample: /usr/local/bin/wdatp
version:
  description: Its version, which is the collection's.
  returned: success, with O(state=present)
  type: str
  sample: 0.1.0
sha256:
  description: The file's hash.
  returned: success, with O(state=present)
  type: str
  sample: 8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4
size:
  description: The file's size in bytes.
  returned: success, with O(state=present)
  type: int
  sample: 350000
files:
  description: What is in it.
  returned: success, with O(state=present)
  type: list
  elements: str
  sample:
    - __main__.py
    - _wdatp/cli.py
error:
  description: What went wrong, for machines. The same is in RV(ignore:msg) for people.
  returned: failure
  type: dict
  sample:
    code: program.newer
    message: /usr/local/bin/wdatp is of version 0.2.0, newer than 0.1.0, which is this collection's.
    remedy: Use a collection that is as new.
"""

from ansible_collections.secops.defender.plugins.module_utils._module import difference, run
from ansible_collections.secops.defender.plugins.module_utils._wdatp.options import PROGRAM
from ansible_collections.secops.defender.plugins.module_utils._wdatp.program import define_program


def work(params, context):
    outcome = define_program(params, check=context.check_mode)
    result = {"changed": outcome.changed, "path": outcome.path}
    if outcome.after is not None:
        result.update(outcome.after.describe())
    if context.diff:
        result["diff"] = difference(outcome.path, _shown(outcome.before), _shown(outcome.after))
    return result


def _shown(program):
    return "" if program is None else f"version {program.version}\nsha256 {program.sha256}\n"


def main():
    run(PROGRAM, work)


if __name__ == "__main__":
    main()
