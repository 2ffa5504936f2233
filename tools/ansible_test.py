# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ansible-test sanity on one ansible-core, in a tree of its own."""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path

from collection import sync_tree
from common import LOCAL, ROOT, Result, must, private_env, run, user_env
from pythons import find_python

_OLDEST_TARGET = "3.9"
_CHATTER = re.compile(r"(Running sanity|Installing req|Using cached pip|WARNING: (Skipping|Using|Location)).*\n")


def sanity(venv: Path) -> Result:
    """All sanity tests of the ansible-core in `venv`. There is no ignore file, and no skip."""
    name = venv.name
    tree = sync_tree(name)
    # A home of its own: two of these may run at a time, and keep virtual environments there.
    home = LOCAL / "homes" / name
    env = private_env(venv, HOME=home)
    env["PATH"] = os.pathsep.join([str(venv / "bin"), str(_targets(name)), env["PATH"]])
    _lend_pip_settings(venv, home)
    _place_bootstrap(venv, home)
    result = run([venv / "bin" / "ansible-test", "sanity", "--color", "no", "--truncate", "0"], env, tree)
    # It is content with nothing to test; this is not.
    code = 1 if "All targets skipped" in result.output else result.code
    return Result(code, _CHATTER.sub("", result.output))


def _targets(name: str) -> Path:
    """A directory with the oldest supported Python, for the tests that look at more than the controller's."""
    directory = LOCAL / "pythons" / name
    directory.mkdir(parents=True, exist_ok=True)
    oldest = find_python([_OLDEST_TARGET])
    for link in directory.iterdir():
        link.unlink()
    if oldest:
        (directory / f"python{_OLDEST_TARGET}").symlink_to(oldest)
    return directory


def _lend_pip_settings(venv: Path, home: Path) -> None:
    """ansible-test starts pip with no environment but HOME: what the user set for pip must lie there."""
    listing = must([venv / "bin" / "python", "-m", "pip", "config", "list"], user_env())
    settings = re.findall(r"^[\w:]+\.([\w-]+)=(.+)$", listing, re.MULTILINE)
    target = home / ".config" / "pip" / "pip.conf"
    target.parent.mkdir(parents=True, exist_ok=True)
    lines = (f"{key} = " + ast.literal_eval(value).replace("\n", "\n  ") for key, value in dict(settings).items())
    target.touch(0o600)
    target.write_text("\n".join(["[global]", "quiet = 1", *lines, ""]))


def _place_bootstrap(venv: Path, home: Path) -> None:
    """ansible-test downloads a script that installs pip, from a host that not every network lets through."""
    (source,) = venv.glob("lib/python*/site-packages/ansible_test/_internal/python_requirements.py")
    cache = home / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for version in re.findall(r"pip='([\d.]+)'", source.read_text()):
        script = cache / f"get_pip_{version.replace('.', '_')}.py"
        script.write_text((ROOT / "tools" / "get_pip.py").read_text())
