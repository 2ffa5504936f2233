# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens to a collector in the years after it was deployed. No event may be lost, and none may come twice."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from collector import Collector, changed
from hosts import wait_for

SERVICE = "wdatp-pull@default.service"
OLDER = "0.0.1"
# One page in so many seconds: long enough to be met in the middle.
SLOW = [{"match": {"leg": "api"}, "do": {"delay": 0.5}}]


@pytest.fixture(scope="module")
def collector(boot: Callable[..., Collector], older: Path) -> Collector:
    """One that was deployed by an older version of the collection, and then by this one."""
    collector = boot("years", alerts=2000)
    collector.definition |= {"page_size": 50, "interval": "20s"}
    collector.converge(collections_path=older).ok()
    return collector


@pytest.fixture(scope="module")
def older(collections_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same collection with a lower version."""
    copy = tmp_path_factory.mktemp("older")
    name = "ansible_collections/secops/defender"
    shutil.copytree(collections_path / name, copy / name, ignore=shutil.ignore_patterns(".git", ".local"))
    file = copy / name / "plugins/module_utils/_wdatp/version.py"
    file.write_text(re.sub('VERSION = ".*"', f'VERSION = "{OLDER}"', file.read_text()))
    return copy


def test_an_upgrade_keeps_cursor_and_ledger(collector: Collector) -> None:
    assert OLDER in collector.wdatp("--version")
    before = collector.info()["streams"][0]["cursor"]
    collector.mock.add_alerts(5)
    result = collector.converge().ok()
    assert "Write the program" in changed(result)
    assert OLDER not in collector.wdatp("--version")
    assert collector.info()["streams"][0]["cursor"] > before
    collector.wait_for_all()


def test_a_downgrade_is_refused_before_anything_is_touched(collector: Collector, older: Path) -> None:
    version = collector.wdatp("--version")
    result = collector.converge(collections_path=older)
    assert result.rc != 0
    assert "allow_downgrade" in result.last.msg
    assert changed(result) == []
    assert collector.wdatp("--version") == version
    assert collector.host.show("wdatp-pull@default.timer", "ActiveState") == "active"


@pytest.mark.parametrize("how", ["reboot", "power cut"])
def test_a_restart_in_the_middle_of_a_pull_loses_and_doubles_nothing(collector: Collector, how: str) -> None:
    before = len(collector.lines())
    collector.mock.add_alerts(600)
    collector.mock.set_faults(SLOW)
    collector.host.run(f"systemctl start --no-block {SERVICE}")
    wait_for(lambda: len(collector.lines()) > before, "the first page of the pull")
    if how == "reboot":
        collector.host.reboot()
    else:
        collector.host.cut_power()
        collector.host.boot()
    assert len(collector.lines()) < len(collector.truth())
    collector.mock.set_faults([])
    # By the timer, soon after the boot.
    collector.wait_for_all()
    assert collector.host.run("systemctl is-enabled wdatp-pull@default.timer") == "enabled"


def test_a_full_disk_loses_nothing_and_is_impossible_to_overlook(collector: Collector) -> None:
    """Of the destination: its events wait in the outbox."""
    small = "/srv/small/alerts.jsonl"
    collector.host.run("mkdir /srv/small && mount -t tmpfs -o size=200k,mode=0777 tmpfs /srv/small")
    definition = {**collector.definition, "destinations": [{"path": small}]}
    job = {"pull_job_name": "small", "pull_job_definition": definition}
    result = collector.converge(job)
    assert result.rc != 0
    assert "No space is left for the output file" in result.last.msg
    assert collector.info("small")["pending"] > 0
    assert collector.host.run("systemctl is-failed wdatp-pull@small.service") == "failed"
    assert "small" in collector.wdatp("status", check=False)
    collector.host.run("mount -o remount,size=100m /srv/small")
    collector.host.run("systemctl start wdatp-pull@small.service")
    collector.wait_for_all(small)
    assert collector.info("small")["pending"] == 0
    # The other job has noticed nothing.
    assert collector.host.show(SERVICE, "Result") == "success"
