# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Between Ansible's lookups and the engine: options in, errors out. Private to this collection."""

from __future__ import annotations

import difflib
import os
import traceback
import typing as t

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible.utils.display import Display
from ansible_collections.secops.defender.plugins.module_utils._wdatp.clouds import refuse_china
from ansible_collections.secops.defender.plugins.module_utils._wdatp.errors import OptionError, WdatpError
from ansible_collections.secops.defender.plugins.module_utils._wdatp.options import Option
from ansible_collections.secops.defender.plugins.module_utils._wdatp.pull import Context
from ansible_collections.secops.defender.plugins.module_utils._wdatp.redact import Redactor, environment_of

display = Display()


# What a template may say to any lookup.
_ANSIBLES_OWN = ("wantlist", "errors", "allow_unsafe")


def check_call(options: t.Sequence[Option], direct: t.Mapping[str, t.Any]) -> None:
    """AnsibleLookupError for what Ansible would let pass, or refuse without saying why. `direct`: given in the call."""
    try:
        _check_names([option.name for option in options], direct)
        refuse_china(str(direct.get("cloud") or os.environ.get("WDATP_CLOUD")))
    except OptionError as error:
        raise AnsibleLookupError(str(error)) from None


def _check_names(known: t.Sequence[str], direct: t.Mapping[str, t.Any]) -> None:
    """Ansible ignores an option that is misspelled: a filter would be none, and nobody would know."""
    for name in direct:
        if name not in known and name not in _ANSIBLES_OWN:
            near = difflib.get_close_matches(name, known, 1)
            remedy = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(known)}."
            raise OptionError(f"The lookup has no option {name}.", remedy)


def option_values(plugin: LookupBase, options: t.Iterable[Option], direct: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The options' values, None where not given. `direct`: what was given in the call.

    What Ansible took from the environment is left to the engine, which reads it itself: there a stored credential wins
    over the environment's identity.
    """
    values = {}
    for option in options:
        # ansible-core before 2.17 forgets here what was given in the call; `get_option` knows it in every version.
        _value, origin = plugin.get_option_and_origin(option.name)
        is_from_environment = option.name not in direct and str(origin).startswith("env:")
        is_ours = option.default is None and is_from_environment
        values[option.name] = None if is_ours else plugin.get_option(option.name)
    return values


def guarded(
    work: t.Callable[[Context], list[t.Any]], options: t.Sequence[Option], values: t.Mapping[str, t.Any]
) -> list[t.Any]:
    """Runs `work` with these options' values; all errors become AnsibleLookupError, without a secret in their text."""
    redactor = Redactor()
    redactor.learn(options, environment_of(options))
    redactor.learn(options, values)
    context = Context(redactor, lambda text: display.warning(redactor.text(text)))
    try:
        return work(context)
    except WdatpError as error:
        # Without the cause: its text is not redacted.
        raise AnsibleLookupError(redactor.text(str(error))) from None
    except Exception as error:
        display.vvv(redactor.text(traceback.format_exc()))
        what = f"A bug in this collection: {type(error).__name__}: {error}."
        remedy = "Please report it, with the traceback that -vvv shows."
        raise AnsibleLookupError(redactor.text(f"{what} {remedy}")) from None
