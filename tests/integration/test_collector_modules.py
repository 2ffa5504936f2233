# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""wdatp_pull_job, its info, wdatp_pull_events with a job, and wdatp_program, in one play; then the program itself."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import ROOT, PlaybookRunner, Result
from mock_api import MockTenant, TenantConfig
from pulls import addresses, assert_delivered, assert_no_secret, truth

MODULE = "secops.defender."


class Played:
    def __init__(self, mock: MockTenant, place: Path, run: PlaybookRunner) -> None:
        self.mock, self.program, self.events = mock, place / "wdatp", place / "alerts.jsonl"
        self.directories = {"config_dir": str(place / "etc"), "state_dir": str(place / "var")}
        credential = {
            "name": "contoso",
            "tenant_id": mock.tenant_id,
            "organization": "Contoso",
            "client_id": mock.client_id,
            "client_secret": mock.client_secret,
            "config_dir": self.directories["config_dir"],
            **addresses(mock),
        }
        job = {**self.directories, "destinations": [{"path": str(self.events)}], "initial_lookback": "2d"}
        program = {"path": str(self.program), "python": sys.executable}
        pulled = {**self.directories, "job": "default"}
        tasks: list[dict[str, Any]] = [
            {"name": "Too early", MODULE + "wdatp_pull_job": job, "ignore_errors": True},
            {"name": "Credential", MODULE + "wdatp_credential": credential},
            {"name": "Predict", MODULE + "wdatp_pull_job": job, "check_mode": True, "diff": True},
            {"name": "Define", MODULE + "wdatp_pull_job": job, "diff": True},
            {"name": "Define again", MODULE + "wdatp_pull_job": job},
            {"name": "Wrong", MODULE + "wdatp_pull_job": {**job, "interval": "often"}, "ignore_errors": True},
            {"name": "Pull", MODULE + "wdatp_pull_events": pulled},
            {"name": "Pull again", MODULE + "wdatp_pull_events": pulled},
            {
                "name": "Both",
                MODULE + "wdatp_pull_events": {**pulled, "severity": ["high"]},
                "ignore_errors": True,
            },
            {"name": "Info", MODULE + "wdatp_pull_job_info": self.directories},
            {"name": "Predict program", MODULE + "wdatp_program": program, "check_mode": True},
            {"name": "Program", MODULE + "wdatp_program": program, "diff": True},
            {"name": "Program again", MODULE + "wdatp_program": program},
            {
                "name": "Foreign",
                MODULE + "wdatp_program": {"path": str(self.events)},
                "ignore_errors": True,
            },
        ]
        self.result: Result = run(tasks)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory, collections_path: str) -> Iterator[Played]:
    place = tmp_path_factory.mktemp("c")
    with MockTenant(TenantConfig(alerts=40)) as mock:
        yield Played(mock, place, PlaybookRunner(place, collections_path))


def test_a_job_is_predicted_defined_and_left_alone(played: Played) -> None:
    result = played.result.ok()
    assert result["Too early"].result["error"]["code"] == "job.nobody"
    statuses = [result[name].status for name in ("Predict", "Define", "Define again")]
    assert statuses == ["changed", "changed", "ok"]
    assert result["Predict"].result["job"] == result["Define"].result["job"]
    assert str(played.events) in json.dumps(result["Define"].result["diff"])
    assert result["Wrong"].result["error"]["code"] == "option.invalid"


def test_a_job_is_pulled(played: Played) -> None:
    result = played.result
    assert_delivered(played.events, truth(played.mock))
    assert (result["Pull"].result["new"], result["Pull again"].status) == (40, "ok")
    assert result["Both"].result["error"]["code"] == "option.conflict"


def test_info_tells_how_it_is(played: Played) -> None:
    (job,) = played.result["Info"].result["jobs"]
    (stream,) = job["streams"]
    assert (job["name"], job["interval"], job["last_run"]["new"]) == ("default", "5m", 0)
    assert (stream["organization"], stream["last_error"], stream["pending"]) == ("Contoso", None, 0)
    assert stream["cursor"] == played.result["Pull again"].result["cursor"]["after"]


def test_the_program_is_the_same_everywhere(played: Played) -> None:
    """As this checkout makes it, whichever ansible-core has brought the sources to the host."""
    result = played.result
    assert [result[name].status for name in ("Predict program", "Program", "Program again")] == [
        "changed",
        "changed",
        "ok",
    ]
    sys.path.insert(0, str(ROOT / "plugins" / "module_utils"))
    try:
        from _wdatp.program import build
    finally:
        del sys.path[0]
    made = build(sys.executable)
    written = played.program.read_bytes()
    assert hashlib.sha256(written).hexdigest() == result["Program"].result["sha256"] == made.sha256
    assert written == made.content
    assert result["Foreign"].result["error"]["code"] == "program.foreign"


def test_the_program_goes_on_where_the_module_was(played: Played) -> None:
    words = [f"--{name.replace('_', '-')}={value}" for name, value in played.directories.items()]
    done = subprocess.run([played.program, *words, "pull", "--json"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["new"] == 0
    done = subprocess.run([played.program, *words, "status"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout[:10]) == (0, "WDATP OK -")


def test_no_secret_is_shown(played: Played) -> None:
    assert_no_secret(played.result, played.mock.client_secret)
