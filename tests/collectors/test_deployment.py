# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a bare host to a collector that pulls on its own, and what it shows of its secrets."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from canaries import CLIENT_SECRET, Hunt
from collector import EVENTS, Collector, changed
from hosts import wait_for

SERVICE, TIMER = "wdatp-pull@default.service", "wdatp-pull@default.timer"
# What systemd-analyze says of a service at most, from 0 (locked in) to 10 (free).
EXPOSURE = 2.0


@pytest.fixture(scope="module")
def bare(boot: Callable[..., Collector]) -> Collector:
    """A host that has nothing of it."""
    return boot("bare", client_secret=CLIENT_SECRET)


@pytest.fixture(scope="module")
def predicted(bare: Collector) -> Any:
    """The role in check mode, before anything else has happened."""
    return bare.converge(check=True, diff=True)


@pytest.fixture(scope="module")
def first(bare: Collector, predicted: Any) -> Any:
    """The first real run, and what it says when it is asked for more."""
    return bare.converge(diff=True, verbosity=2)


@pytest.fixture(scope="module")
def deployed(bare: Collector, first: Any) -> Collector:
    first.ok()
    return bare


def test_check_mode_on_a_bare_host_goes_through_and_changes_nothing(bare: Collector, predicted: Any) -> None:
    predicted.ok()
    assert "Write the service" in changed(predicted)
    assert "Say that the job would be defined" in changed(predicted)


def test_deploys_and_shows_the_figures(deployed: Collector, first: Any) -> None:
    assert "100 new, 0 updated, 100 written, 0 pending, of 1 tenants, 0 of them in error" in first.output
    assert sorted(deployed.lines()) == sorted(deployed.truth())


def test_a_second_run_changes_nothing(deployed: Collector) -> None:
    assert changed(deployed.converge().ok()) == []
    assert changed(deployed.converge(check=True).ok()) == []


def test_the_service_is_hardened(deployed: Collector) -> None:
    said = deployed.host.run(f"systemd-analyze security --no-pager {SERVICE}", check=False)
    found = re.search(r"Overall exposure level for .*: ([0-9.]+)", said)
    assert found and float(found[1]) <= EXPOSURE, said
    assert deployed.host.show(SERVICE, "User") == "wdatp"
    assert deployed.host.show(SERVICE, "MemoryMax") == str(2**30)
    assert deployed.host.show(TIMER, "Persistent") == "yes"
    assert deployed.host.run(f"systemctl is-enabled {TIMER}") == "enabled"


def test_what_changes_is_all_that_changes(deployed: Collector) -> None:
    result = deployed.converge({"pull_job_interval": "10s", "pull_job_first_pull": False}).ok()
    assert changed(result) == ["Define the job", "Write the timer", "Run the job by its timer"]
    assert "OnUnitActiveUSec=9s" in deployed.host.show(TIMER, "TimersMonotonic")


def test_the_timer_brings_new_events(deployed: Collector) -> None:
    deployed.mock.add_alerts(7)
    wait_for(lambda: len(deployed.lines()) == 107, "the timer to bring new events", 30)
    deployed.mock.update_alerts(3)
    wait_for(lambda: len(deployed.lines()) == 110, "the timer to bring their changes", 30)
    assert deployed.host.show(SERVICE, "Result") == "success"


def test_a_change_while_it_runs_goes_to_the_next_run(deployed: Collector) -> None:
    second = "/srv/second/alerts.jsonl"
    definition = {**deployed.definition, "destinations": [{"path": EVENTS}, {"path": second}]}
    result = deployed.converge({"pull_job_interval": "10s", "pull_job_definition": definition}).ok()
    assert set(changed(result)) >= {"Make the destinations' directories", "Define the job", "Write the service"}
    assert "Write the timer" not in changed(result)
    deployed.mock.add_alerts(2)
    wait_for(lambda: len(deployed.lines(second)) == 2, "the second destination to get what is new", 30)


# --- secrets ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pulling(deployed: Collector) -> Iterator[Collector]:
    """In the middle of a run."""
    deployed.mock.set_faults([{"match": {"leg": "api"}, "do": {"delay": 4}}])
    deployed.mock.clear_requests()
    wait_for(lambda: deployed.host.show(SERVICE, "MainPID") != "0", "a run to begin", 30)
    time.sleep(1)
    yield deployed
    deployed.mock.set_faults([])


def test_no_secret_shows_while_it_runs(pulling: Collector) -> None:
    hunt = Hunt({"client secret": CLIENT_SECRET})
    for what in (
        f"systemctl show {SERVICE}",
        f"systemctl cat {SERVICE} {TIMER}",
        "journalctl --no-pager --output=export",
        "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline",
        "cat /run/wdatp/* /var/log/*.log",
    ):
        assert hunt.in_text(what, pulling.host.run(what, check=False)) == []


def test_no_other_user_can_read_a_secret(pulling: Collector) -> None:
    """Nor can the job's own user outside of the service, save for what the service is given while it runs."""
    places = "/etc /run /srv /tmp /usr/local /var /dev/shm"
    for user, more in (("admin", ""), ("wdatp", "--exclude-dir=credentials")):
        search = f"runuser -u {user} -- grep -rls {more} --fixed-strings 'Cs1~' {places}"
        assert pulling.host.run(search, check=False) == ""
        assert "Permission denied" in pulling.host.run(f"runuser -u {user} -- ls /etc/wdatp/secrets", check=False)


def test_no_secret_was_shown_by_the_role(predicted: Any, first: Any) -> None:
    hunt = Hunt({"client secret": CLIENT_SECRET})
    for run in (predicted, first):
        assert hunt.in_text("what the run said", run.output) == []
        assert hunt.in_value("what its tasks returned", [task.result for task in run.tasks]) == []


# --- what stands in the way -------------------------------------------------------------------------------------------


def test_a_job_that_fails_its_test_is_not_scheduled(deployed: Collector) -> None:
    credential = {**deployed.credential, "name": "wrong", "client_secret": "wrong-secret", "organization": "Wrong"}
    result = deployed.converge(
        {
            "pull_job_name": "wrong",
            "pull_job_credentials": [credential],
            "pull_job_definition": {"credentials": ["wrong"], "destinations": [{"path": "/srv/wrong/alerts.jsonl"}]},
        }
    )
    assert result.rc != 0
    assert "AADSTS7000215" in result.last.msg
    assert deployed.host.run("systemctl is-enabled wdatp-pull@wrong.timer", check=False) != "enabled"


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"pull_job_interval": "often"}, "no duration"),
        (
            {"pull_job_definition": {"destinations": [{"path": "/tmp/alerts.jsonl"}]}},
            "a /tmp and a /var/tmp of its own",
        ),
        ({"pull_job_definition": {"destination": []}}, "destination"),
        ({"pull_job_state_dir": "/var/lib"}, "a directory of its own"),
        ({"pull_job_python": "/usr/bin/python9"}, "pull_job_python"),
    ],
)
def test_what_can_not_be_is_refused_before_anything_is_done(
    deployed: Collector, variables: dict[str, Any], words: str
) -> None:
    result = deployed.converge(variables)
    assert result.rc != 0
    assert words in result.output
    assert changed(result) == []
