# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role has to know of a host, found out in one go: questions come as JSON in the argument, answers go out as
JSON. It changes nothing, and runs on any Python 3, so that one that is too old can be told from none.

    owned   directories: of what lies in them, the owners are told
    paths   of these, those that exist are told
"""

import grp
import json
import os
import pwd
import subprocess
import sys


def main(questions):
    return {
        "uid": os.geteuid(),
        "python": list(sys.version_info[:2]),
        "libraries": {name: version_of(name) for name in ("requests", "msal")},
        "has_pip": has_module("ensurepip"),
        # Without it, no pip runs on Python 3.9: Debian has it in packages of their own.
        "runs_pip": sys.version_info >= (3, 10) or has_module("distutils.cmd"),
        # What Ansible needs to look up packages, where that is apt.
        "knows_packages": has_module("apt") or not os.path.exists("/usr/bin/apt-get"),
        "systemd": systemd_version(),
        "exists": [path for path in questions["paths"] if os.path.lexists(path)],
        "owners": owners(questions["owned"]),
    }


def version_of(name):
    """The version of a library that this Python can import; empty without it."""
    try:
        return str(__import__(name).__version__)
    except Exception:  # a broken library is as good as none
        return ""


def has_module(name):
    try:
        __import__(name)
    except ImportError:
        return False
    return True


def systemd_version():
    """0 where systemd does not run this host (sd_booted(3))."""
    if not os.path.isdir("/run/systemd/system"):
        return 0
    said = subprocess.check_output(["systemctl", "--version"], universal_newlines=True)
    return int(said.split()[1].split(".")[0].split("~")[0])


def owners(directories):
    """Who owns what lies in these directories, as user:group by path. Links are left alone."""
    found = {}
    for directory in directories:
        for folder, _folders, names in os.walk(directory):
            for path in [folder] + [os.path.join(folder, name) for name in names]:
                if not os.path.islink(path):
                    known = os.lstat(path)
                    found[path] = ":".join([name_of(pwd.getpwuid, known.st_uid), name_of(grp.getgrgid, known.st_gid)])
    return found


def name_of(lookup, number):
    try:
        return lookup(number)[0]
    except KeyError:
        return str(number)


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
