# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Between Ansible's lookups and the engine: options in, errors out. Private to this collection."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible.utils.display import Display
from ansible_collections.secops.defender.plugins.module_utils._wdatp.errors import WdatpError
from ansible_collections.secops.defender.plugins.module_utils._wdatp.options import Option
from ansible_collections.secops.defender.plugins.module_utils._wdatp.pull import Context
from ansible_collections.secops.defender.plugins.module_utils._wdatp.redact import Redactor

display = Display()


def option_values(plugin: LookupBase, options: t.Iterable[Option]) -> dict[str, t.Any]:
    """The options' values, None where not given.

    What Ansible took from the environment is left to the engine, which reads it itself: there a stored credential wins
    over the environment's identity.
    """
    values = {}
    for option in options:
        value, origin = plugin.get_option_and_origin(option.name)
        is_ours = option.default is None and str(origin).startswith("env:")
        values[option.name] = None if is_ours else value
    return values


def guarded(work: t.Callable[[Context], list[t.Any]], secrets: t.Iterable[str | None]) -> list[t.Any]:
    """Runs `work`; the engine's errors become AnsibleLookupError, without a secret in their text."""
    redactor = Redactor()
    for secret in secrets:
        redactor.add(secret)
    context = Context(redactor, lambda text: display.warning(redactor.text(text)))
    try:
        return work(context)
    except WdatpError as error:
        # Without the cause: its text is not redacted.
        raise AnsibleLookupError(redactor.text(str(error))) from None
