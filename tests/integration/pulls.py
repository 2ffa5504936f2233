# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks that pull from a mock tenant and steer it between two tasks, and the truth to compare files with."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from math import isinf
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

from harness import Result

if TYPE_CHECKING:
    from mock_api import MockTenant

PULL = "secops.defender.wdatp_pull_events"
CREDENTIAL = "secops.defender.wdatp_credential"
LOOKUP = "secops.defender.wdatp_alerts"
GROUP = "group/secops.defender.wdatp"


def addresses(mock: MockTenant) -> dict[str, str]:
    return {"api_url": mock.url, "authority_url": mock.url, "ca_path": mock.ca_path}


def identity(mock: MockTenant) -> dict[str, str]:
    """Who asks, and where, as options of any module."""
    return mock.options


def environment(mock: MockTenant) -> dict[str, str]:
    """The same as environment variables."""
    return {f"WDATP_{name.upper()}": value for name, value in identity(mock).items()}


def defaults(state_dir: Path, **group: Any) -> dict[str, Any]:
    """Keywords of a play whose modules all have the options `group`, and whose pulls go back further than the data."""
    return {"module_defaults": {GROUP: group, PULL: {"state_dir": str(state_dir), "initial_lookback": "2d"}}}


def pull(title: str, /, _check: bool = False, _ignore: bool = False, **options: Any) -> dict[str, Any]:
    """A pull; `_check` in check mode, `_ignore`: the play goes on after it has failed."""
    given = {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}
    task: dict[str, Any] = {"name": title, PULL: given}
    if _check:
        task["check_mode"] = True
    if _ignore:
        task["ignore_errors"] = True
    return task


def to(*paths: Path, form: str = "raw") -> list[dict[str, str]]:
    """`destinations` that are these files."""
    return [{"type": "file", "path": str(path), "format": form} for path in paths]


def steer(title: str, mock: MockTenant, path: str, method: str = "POST", **body: Any) -> dict[str, Any]:
    """Something happens in the tenant while the play runs."""
    options = {
        "url": f"{mock.control_url}/{path}",
        "method": method,
        "body": body,
        "body_format": "json",
        "ca_path": mock.ca_path,
    }
    # The tenant answers with its own knobs, its secret among them.
    return {"name": title, "ansible.builtin.uri": options, "no_log": True}


def keep(title: str, path: Path) -> dict[str, Any]:
    """Notes a file's checksum in the middle of a play."""
    return {"name": title, "ansible.builtin.stat": {"path": str(path), "checksum_algorithm": "sha256"}}


def checksum(result: Result, title: str) -> str:
    found = result[title].result["stat"]
    return found["checksum"] if found["exists"] else ""


def lines(path: Path) -> list[bytes]:
    """The lines of a delivered file, each of them whole."""
    content = path.read_bytes()
    assert content == b"" or content.endswith(b"\n")
    return content.split(b"\n")[:-1]


def rows(
    mock: MockTenant, api: str = "graph_alerts", tenant: str | None = None, expand: bool = True
) -> Iterator[tuple[str, str, bytes]]:
    """The truth, oldest first: (id, update time, bytes), as a client sees it that wants to know all."""
    return mock.alerts(api, tenant, expand, unknown_members=True)


def truth(mock: MockTenant, api: str = "graph_alerts", tenant: str | None = None, expand: bool = True) -> list[bytes]:
    """The bytes of all events, sorted."""
    return sorted(raw for _id, _time, raw in rows(mock, api, tenant, expand))


def as_data(raw: bytes) -> Any:
    """An event as a play sees it: a number beyond Python's largest stays text."""
    return json.loads(raw, parse_float=lambda text: text if isinf(float(text)) else float(text))


def assert_delivered(path: Path, expected: list[bytes]) -> None:
    """The file has these events: each once, byte for byte. (Not one long difference where it hasn't.)"""
    found, expected = sorted(lines(path)), sorted(expected)
    assert len(found) == len(expected)
    assert sum(1 for one, other in zip(found, expected) if one != other) == 0


def assert_figures(item: dict[str, Any], **expected: Any) -> None:
    """These figures, and the sum that always holds, in a result of a pull or one of its streams."""
    assert {name: item[name] for name in expected} == expected
    assert item["fetched"] == item["new"] + item["updated"] + item["duplicates"]


def assert_no_secret(result: Result, *secrets: str) -> None:
    """No secret is anywhere in what the run said, in whatever form."""
    said = result.output + json.dumps([task.result for task in result.tasks])
    for secret in secrets:
        forms = {secret, quote(secret), quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1]}
        for lead in range(3):
            for encode in (base64.b64encode, base64.urlsafe_b64encode):
                # Without the characters at both ends that depend on what stands next to it.
                forms.add(encode(b"\0" * lead + secret.encode()).decode().rstrip("=")[4:-2])
        assert [form for form in forms if form in said] == []


def assert_no_token(result: Result) -> None:
    assert "eyJ" not in result.output + json.dumps([task.result for task in result.tasks])


def assert_no_traceback(result: Result) -> None:
    assert "Traceback" not in result.output
    assert "A bug in this collection" not in result.output
    assert [task.name for task in result.tasks if "Traceback" in str(task.result)] == []
