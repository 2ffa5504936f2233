# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes what each task returned, as one JSON line, into the file that TASK_RESULTS_FILE names."""

from __future__ import annotations

import json
import os

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: task_results
type: notification
short_description: Results of all tasks as JSON lines, for tests
description:
  - Writes the name, the status and the result of each task into the file named by E(TASK_RESULTS_FILE).
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "task_results"
    CALLBACK_NEEDS_ENABLED = True

    def _write(self, status, task_result):
        # ansible-core 2.19 and later have public names for these.
        result = task_result.result if hasattr(task_result, "result") else task_result._result
        task = task_result.task if hasattr(task_result, "task") else task_result._task
        if status == "ok" and result.get("changed"):
            status = "changed"
        line = {"name": task.get_name(include_role_fqcn=False), "status": status, "result": result}
        with open(os.environ["TASK_RESULTS_FILE"], "a", encoding="utf-8") as stream:
            stream.write(json.dumps(line, default=str) + "\n")

    def v2_runner_on_ok(self, result):
        self._write("ok", result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._write("ignored" if ignore_errors else "failed", result)

    def v2_runner_on_skipped(self, result):
        self._write("skipped", result)

    def v2_runner_on_unreachable(self, result):
        self._write("unreachable", result)
