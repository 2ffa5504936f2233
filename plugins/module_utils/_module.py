# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The only place that knows AnsibleModule. Private to this collection.

A module is its documentation and this:

    from ansible_collections.secops.defender.plugins.module_utils._module import run
    from ansible_collections.secops.defender.plugins.module_utils._wdatp.options import CONNECTIVITY

    def work(params, context):
        # Import what needs requests or msal here, so that a task without need for it doesn't pay for it.
        from ansible_collections.secops.defender.plugins.module_utils._wdatp.connectivity import check
        ...
        return {"changed": False, "reachable": True}

    def main():
        run(CONNECTIVITY, work)

`params` are the options by name, None where not given. `context` has `check_mode`, `diff`, `warn(text)` and `redactor`:
whatever secret or token the work meets on its way goes into `context.redactor.add(secret)` and is then masked in all
that this task says. What `work` returns is the task's result.

Errors: a WdatpError becomes a failed task with `msg` ("<message> <remedy>") and `error` (code, message, remedy). Where
the task fails but its return values stand, raise `Failed(error, result)` instead; `error` may be a WdatpError or
the text of `msg`. Anything else that escapes is a bug: the task fails and shows its traceback, in
`error.traceback`.
"""

from __future__ import annotations

import traceback
import typing as t

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible.module_utils.common.parameters import remove_values
from ansible_collections.secops.defender.plugins.module_utils._argspec import argument_spec
from ansible_collections.secops.defender.plugins.module_utils._wdatp.clouds import refuse_china
from ansible_collections.secops.defender.plugins.module_utils._wdatp.errors import DependencyError, WdatpError
from ansible_collections.secops.defender.plugins.module_utils._wdatp.options import Option
from ansible_collections.secops.defender.plugins.module_utils._wdatp.redact import Redactor, environment_of, masked


class Failed(Exception):
    """The task fails, and these return values stand nevertheless."""

    def __init__(self, error: WdatpError | str, result: dict[str, t.Any]) -> None:
        super().__init__(str(error))
        self.error = error
        self.result = result


class Context:
    """What a module's work may know and do besides its options."""

    def __init__(self, module: _Module) -> None:
        self._module = module
        self.check_mode: bool = module.check_mode
        # AnsibleModule's name for "the user wants to see differences".
        self.diff: bool = module._diff
        self.redactor = module.redactor

    def warn(self, text: str) -> None:
        self._module.warn(self.redactor.text(text))


def difference(path: str, before: t.Any, after: t.Any) -> dict[str, t.Any]:
    """What a module returns as `diff`: a file before and after, as a dict or a text."""
    return {"before": before, "after": after, "before_header": path, "after_header": path}


Work = t.Callable[[dict[str, t.Any], Context], dict[str, t.Any]]


def run(
    options: t.Sequence[Option],
    work: Work,
    supports_check_mode: bool = True,
    **module_kwargs: t.Any,
) -> None:
    """Run a module: see this file's docstring."""
    redactor = Redactor()
    redactor.learn(options, environment_of(options))
    module = _Module(
        redactor,
        options,
        argument_spec=argument_spec(options),
        supports_check_mode=supports_check_mode,
        **module_kwargs,
    )
    module.learn_params()
    result = _attempt(work, module)
    if result.pop("failed", False):
        # Outside of any except: AnsibleModule would add the traceback of what is no surprise.
        module.fail_json(**result)
    module.exit_json(**result)


def _attempt(work: Work, module: _Module) -> dict[str, t.Any]:
    try:
        return work(dict(module.params), Context(module))
    except Failed as failed:
        return {**failed.result, **_failure(failed.error, module.redactor)}
    except WdatpError as error:
        return _failure(error, module.redactor)
    except Exception as error:
        return _bug(error, module.redactor)


def _failure(error: WdatpError | str, redactor: Redactor) -> dict[str, t.Any]:
    message = missing_required_lib(error.library) if isinstance(error, DependencyError) else str(error)
    result: dict[str, t.Any] = {"failed": True, "msg": redactor.text(message)}
    if isinstance(error, WdatpError):
        result["error"] = {key: redactor.text(text) for key, text in error.to_dict().items()}
    return result


def _bug(error: Exception, redactor: Redactor) -> dict[str, t.Any]:
    message = redactor.text(f"A bug in this collection: {type(error).__name__}: {error}.")
    remedy = "Please report it, with the traceback in error.traceback."
    trace = redactor.text(traceback.format_exc())
    # ansible-core 2.19 and later show `exception` only where the user has asked for tracebacks.
    form = {"code": "bug", "message": message, "remedy": remedy, "traceback": trace.splitlines()}
    return {"failed": True, "msg": f"{message} {remedy}", "error": form, "exception": trace}


class _Module(AnsibleModule):  # type: ignore[misc]
    """An AnsibleModule that knows every form of its secrets, also when it fails over its own options."""

    def __init__(self, redactor: Redactor, options: t.Sequence[Option], **kwargs: t.Any) -> None:
        self.redactor = redactor
        self._options = options
        super().__init__(**kwargs)

    def learn_params(self) -> None:
        self.redactor.learn(self._options, getattr(self, "params", None))

    def fail_json(self, msg: str, **kwargs: t.Any) -> None:
        known = self._known_reason()
        super().fail_json(str(known or msg), **(kwargs if known is None else {**kwargs, "error": known.to_dict()}))

    def _known_reason(self) -> WdatpError | None:
        """To AnsibleModule a cloud that has no such API is a value like any wrong one; the engine knows better."""
        params = getattr(self, "params", None)
        cloud = params.get("cloud") if isinstance(params, dict) else None
        try:
            refuse_china(str(cloud))
        except WdatpError as error:
            return error
        return None

    def _log_invocation(self) -> None:
        # AnsibleModule sends all options to the system's log, and knows only those that are secret as a whole.
        self._mask()
        super()._log_invocation()

    def _return_formatted(self, kwargs: dict[str, t.Any]) -> None:
        """Masks all texts, and leaves alert data and figures alone.

        AnsibleModule would mask both: a password that is a word or a number would then change alerts and counts. Of
        the forms it gets those that are in no data, for the texts that it adds itself.
        """
        self._mask()
        shown = masked(kwargs, self._hidden)
        shown["invocation"] = {"module_args": remove_values(self.params, self.no_log_values)}
        texts = "\0".join(_leaves(shown))
        self.no_log_values = {form for form in self.no_log_values if form not in texts}
        super()._return_formatted(shown)

    def _hidden(self, text: str) -> str:
        return self.redactor.text(str(remove_values(text, self.no_log_values)))

    def _mask(self) -> None:
        self.learn_params()
        self.no_log_values.update(self.redactor.forms)


def _leaves(value: t.Any) -> t.Iterator[str]:
    if isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _leaves(item)
    else:
        yield str(value)
