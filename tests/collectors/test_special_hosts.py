# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host without internet, whose libraries come from a wheelhouse and whose jobs are run by cron; Ansible is root."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from collector import EVENTS, Collector, changed
from hosts import wait_for

SECRETS = "/etc/wdatp/secrets"


@pytest.fixture(scope="module")
def offline(boot: Callable[..., Collector], release: tuple[str, Path, Path]) -> Collector:
    collector = boot("offline", offline=True)
    collector.connect_as("root")
    collector.definition["interval"] = "1m"
    assert "pypi.org" not in collector.host.run("getent hosts pypi.org", check=False)
    # Without a pip, too, save where Python needs more than Debian gives it to run one.
    if release[0] == "bullseye":
        collector.host.run("apt-get install --yes --quiet --no-install-recommends --no-download python3-venv")
    else:
        assert collector.host.run("python3 -c 'import ensurepip'", check=False) != ""
    variables = {"pull_job_scheduler": "cron", "pull_job_wheelhouse": str(release[2])}
    collector.converge(variables, check=True).ok()
    collector.converge(variables).ok()
    assert changed(collector.converge(variables).ok()) == []
    return collector


def test_libraries_come_from_the_wheelhouse(offline: Collector) -> None:
    assert offline.host.run("head --bytes=40 /usr/local/bin/wdatp").startswith("#!/usr/local/lib/wdatp/venv/bin/python")
    assert sorted(offline.lines()) == sorted(offline.truth())


def test_only_root_and_the_user_can_read_the_secrets(offline: Collector) -> None:
    """Without systemd there is nobody to hand them over."""
    assert offline.host.run(f"stat --format='%U %a' {SECRETS} {SECRETS}/*").split("\n") == ["wdatp 700", "wdatp 600"]
    assert "Permission denied" in offline.host.run(f"runuser -u admin -- ls {SECRETS}", check=False)


def test_cron_brings_new_events(offline: Collector) -> None:
    offline.mock.add_alerts(4)
    wait_for(lambda: len(offline.lines()) == 104, f"cron to bring new events to {EVENTS}", 90)
    assert offline.info()["streams"][0]["last_error"] is None


def test_a_job_moves_from_cron_to_systemd(offline: Collector, release: tuple[str, Path, Path]) -> None:
    offline.converge({"pull_job_wheelhouse": str(release[2])}).ok()
    assert offline.host.run("ls /etc/cron.d | grep wdatp", check=False) == ""
    assert offline.host.run("systemctl is-active wdatp-pull@default.timer") == "active"
    assert offline.host.run(f"stat --format=%U {SECRETS} {SECRETS}/*").split() == ["root", "root"]
    offline.mock.add_alerts(1)
    offline.host.run("systemctl start wdatp-pull@default.service")
    offline.wait_for_all()
