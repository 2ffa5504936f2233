# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the engine's table of options to an AnsibleModule's argument spec. Private to this collection."""

from __future__ import annotations

import typing as t

from ansible.module_utils.basic import env_fallback
from ansible_collections.secops.defender.plugins.module_utils._wdatp.options import Option

# Names in which ansible-test and AnsibleModule suspect a secret, and which hold none.
_SUSPECT = ("pass", "secret", "token", "key", "certificate_path")


def argument_spec(options: t.Iterable[Option]) -> dict[str, dict[str, t.Any]]:
    """The argument spec of these options.

    An option with a default takes its environment variable here, as a fallback. One without a default takes it in the
    engine (config.py): here nobody could tell any more what was given, and a stored credential must win over the
    environment's identity.
    """
    return {option.name: _entry(option) for option in options}


def _entry(option: Option) -> dict[str, t.Any]:
    entry: dict[str, t.Any] = {"type": option.type}
    if option.required:
        entry["required"] = True
    if option.default is not None:
        entry["default"] = option.default
        if option.env:
            entry["fallback"] = (env_fallback, [option.env])
    if option.choices:
        entry["choices"] = list(option.choices)
    if option.elements:
        entry["elements"] = option.elements
    if option.options:
        entry["options"] = argument_spec(option.options)
    if option.secret:
        entry["no_log"] = True
    elif any(part in option.name for part in _SUSPECT):
        entry["no_log"] = False
    return entry
