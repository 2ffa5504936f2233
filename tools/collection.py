# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection as Ansible wants it: a copy in an ansible_collections tree, a tarball, an installation."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from common import LOCAL, ROOT, checkout_files, digest, locked, must, private_env

WHERE = Path("ansible_collections") / "secops" / "defender"


def sync_tree(name: str) -> Path:
    """Copy the checkout's files to a tree of that name; tools that need the collection's path run there."""
    tree = LOCAL / "trees" / name / WHERE
    files = checkout_files()
    with locked(f"tree-{name}"):
        # A repository of its own: tools that ask git for the files would otherwise find them all ignored.
        must(["git", "init", "--quiet", tree])
        _remove_strangers(tree, set(files))
        for path in files:
            _copy(ROOT / path, tree / path)
    return tree


def _remove_strangers(tree: Path, wanted: set[Path]) -> None:
    for directory, _folders, names in os.walk(tree, topdown=False):
        here = Path(directory)
        if ".git" in here.relative_to(tree).parts:
            continue
        for path in (here / name for name in names):
            if path.relative_to(tree) not in wanted:
                path.unlink()
        if here != tree and not any(here.iterdir()):
            here.rmdir()


def _copy(source: Path, target: Path) -> None:
    """Copy what is new or different; an unchanged file keeps its time, which some tools look at."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_symlink():
        target.unlink(missing_ok=True)
    elif target.is_file() and _stat(source) == _stat(target):
        return
    shutil.copy2(source, target, follow_symlinks=False)


def _stat(path: Path) -> tuple[int, int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_mode


def build_collection(venv: Path) -> Path:
    """The tarball that a release would have; `venv` has ansible-core."""
    tree = sync_tree("build")
    output = LOCAL / "build"
    with locked("build"):
        must([*_galaxy(venv), "build", "--force", "--output-path", output], private_env(venv), tree)
    version = next(line for line in (ROOT / "galaxy.yml").read_text().splitlines() if line.startswith("version:"))
    return output / f"secops-defender-{version.split()[1]}.tar.gz"


def _galaxy(venv: Path) -> list[str]:
    return [str(venv / "bin" / "ansible-galaxy"), "collection"]


def build_and_install_collection(venv: Path, dest: Path) -> Path:
    """Build and install into `dest` (for ANSIBLE_COLLECTIONS_PATH), unless it has just this; where it then is."""
    stamp = dest / ".secops-defender"
    wanted = digest(checkout_files())
    with locked(f"install-{digest((), str(dest))[:8]}"):
        if not stamp.is_file() or stamp.read_text() != wanted:
            tarball = build_collection(venv)
            options = ["--force", "--no-deps", "--offline", "--collections-path", str(dest)]
            must([*_galaxy(venv), "install", *options, tarball], private_env(venv))
            stamp.write_text(wanted)
    return dest / WHERE
