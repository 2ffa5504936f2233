# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Uninstalling: one job of two, the last one, and everything."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from collector import EVENTS, Collector, changed

# systemd makes it when the first secret is encrypted; it is the host's, and others may use it by then.
HOST_KEY = "/var/lib/systemd/credential.secret"
SECOND = {"pull_job_name": "second.job"}
GONE = {"pull_job_state": "absent"}
# Whose files change all the time: the kernel, systemd, packages, logs, whoever logs in.
_OTHERS = (
    "/home /proc /root /run/log /run/motd.dynamic /run/sudo /run/systemd /run/user /sys /tmp"
    " /usr/lib/python3 /var/cache /var/lib/apt /var/lib/dpkg /var/log"
)


@pytest.fixture(scope="module")
def collector(boot: Callable[..., Collector]) -> Collector:
    """One with two jobs; what was there before is noted."""
    collector = boot("gone")
    packages = "python3-apt python3-msal python3-requests python3-venv"
    collector.host.run(f"apt-get install --yes --quiet --no-install-recommends {packages}")
    collector.before = _files(collector)
    collector.converge().ok()
    collector.converge({**SECOND, "pull_job_definition": {"credentials": ["contoso"], "initial_lookback": "2d"}}).ok()
    return collector


def _files(collector: Collector) -> set[str]:
    prune = " -o ".join(f"-path {path}" for path in _OTHERS.split())
    return set(collector.host.run(f"find / \\( {prune} \\) -prune -o -print").split("\n"))


def test_the_first_job_goes_and_the_other_works_on(collector: Collector) -> None:
    predicted = changed(collector.converge({**GONE, "pull_job_credentials": []}, check=True).ok())
    result = collector.converge({**GONE, "pull_job_credentials": []}).ok()
    assert changed(result) == predicted
    assert collector.host.run("systemctl list-unit-files 'wdatp-pull@default*' --no-legend", check=False) == ""
    assert collector.host.run("systemctl is-active wdatp-pull@second.job.timer") == "active"
    collector.mock.add_alerts(2)
    collector.host.run("systemctl start wdatp-pull@second.job.service")
    collector.wait_for_all("/var/lib/wdatp/events.jsonl")


def test_the_last_job_takes_the_program_along_and_leaves_the_state(collector: Collector) -> None:
    result = collector.converge({**GONE, **SECOND}).ok()
    assert "Remove the program" in changed(result)
    left = _files(collector) - collector.before
    assert not [path for path in left if path.startswith(("/etc", "/usr", "/run"))]
    assert "/var/lib/wdatp/jobs/second.job/state.db" in left
    assert "/var/lib/wdatp/events.jsonl" in left
    assert EVENTS in left
    assert changed(collector.converge({**GONE, **SECOND}).ok()) == []


def test_deployed_again_it_goes_on_where_it_was(collector: Collector) -> None:
    delivered = collector.lines()
    collector.mock.add_alerts(1)
    result = collector.converge().ok()
    assert "3 new, 0 updated, 3 written" in result.output
    assert collector.lines()[: len(delivered)] == delivered
    collector.wait_for_all()


def test_purged_nothing_is_left_but_what_was_delivered(collector: Collector) -> None:
    result = collector.converge({**GONE, "pull_job_purge": True}).ok()
    assert "Remove the user" not in changed(result)
    assert _files(collector) - collector.before - {HOST_KEY} == {"/srv/siem", EVENTS}
    assert collector.host.run("systemctl list-units --all 'wdatp*' --no-legend") == ""
    collector.host.run("rm -r /srv/siem")
    result = collector.converge({**GONE, "pull_job_purge": True, "pull_job_definition": {}}).ok()
    assert changed(result) == ["Remove the user"]
    assert collector.host.run("getent passwd wdatp; getent group wdatp", check=False) == ""
