# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the collection importable by its full name, as Ansible's own loader does, and the mock as `mock_api`."""

from __future__ import annotations

import atexit
import importlib.util
import shutil
import sys
import tempfile
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]


def _importable() -> bool:
    try:
        return importlib.util.find_spec("ansible_collections.secops.defender.plugins") is not None
    except ModuleNotFoundError:
        return False


def _link_collection() -> None:
    directory = tempfile.mkdtemp(prefix="wdatp_unit_")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    parent = Path(directory, "ansible_collections", "secops")
    parent.mkdir(parents=True)
    (parent / "defender").symlink_to(_ROOT, target_is_directory=True)
    sys.path.insert(0, directory)
    # Namespace packages that were imported before don't know of the new directory.
    for name in [name for name in sys.modules if name.split(".")[0] == "ansible_collections"]:
        del sys.modules[name]
    importlib.invalidate_caches()


if str(_ROOT / "tests") not in sys.path:
    sys.path.insert(0, str(_ROOT / "tests"))
if not _importable():
    _link_collection()
