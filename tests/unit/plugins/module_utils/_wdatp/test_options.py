# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.secops.defender.plugins.module_utils._wdatp import options
from ansible_collections.secops.defender.plugins.module_utils._wdatp.options import Option

TABLES = {name: table for name, table in vars(options).items() if name.isupper() and isinstance(table, tuple)}
TABLES = {name: table for name, table in TABLES.items() if all(isinstance(item, Option) for item in table)}
TYPES = {"str": str, "int": int, "bool": bool, "path": str, "list": list, "dict": dict}


def _all(table: tuple[Option, ...]) -> Iterator[Option]:
    for option in table:
        yield option
        yield from _all(option.options)


EVERY = [(name, option) for name, table in TABLES.items() for option in _all(table)]


@pytest.mark.parametrize(("table", "option"), EVERY, ids=[f"{table}-{option.name}" for table, option in EVERY])
def test_an_option_makes_sense(table: str, option: Option) -> None:
    assert option.type in TYPES
    assert option.default is None or isinstance(option.default, TYPES[option.type])
    assert not option.choices or option.default is None or option.default in option.choices
    assert (option.type == "list") == bool(option.elements)
    assert not option.options or "dict" in (option.type, option.elements)
    assert not (option.required and option.default is not None)
    assert not option.secret or option.default is None
    assert option.name.isidentifier()
    assert option.name.islower()


@pytest.mark.parametrize("name", TABLES)
def test_a_name_is_there_once(name: str) -> None:
    names = [option.name for option in TABLES[name]]
    assert len(names) == len(set(names))


def test_a_variable_means_one_option() -> None:
    seen: dict[str, Any] = {}
    for _table, option in EVERY:
        if option.env:
            assert seen.setdefault(option.env, option.name) == option.name
            assert option.env == f"WDATP_{option.name.upper()}" or option.env == "AZURE_FEDERATED_TOKEN_FILE"


def test_what_a_stored_credential_may_say_has_no_default() -> None:
    """Otherwise nobody could tell whether it was given, and the credential would never count."""
    assert [option.name for option in options.IDENTITY + options.TARGET + options.SELECTION if option.default] == []
