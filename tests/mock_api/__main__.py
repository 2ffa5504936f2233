# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets `python3 tests/mock_api` and `python3 -m tests.mock_api` start the mock tenant."""

from __future__ import annotations

import sys
from pathlib import Path

_NEEDED = ("jwt", "cryptography")


def _run() -> int:
    try:
        if __package__:
            from .cli import main
        else:
            # Started by path: Python put this directory itself on the path, where relative imports have no package.
            sys.path[0] = str(Path(__file__).resolve().parent.parent)
            from mock_api.cli import main
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _NEEDED:
            raise
        print("mock tenant: PyJWT and cryptography are missing; `pip install msal` brings both.", file=sys.stderr)
        return 2
    return main()


if __name__ == "__main__":
    sys.exit(_run())
