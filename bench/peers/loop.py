# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one writes first: get the token, follow the links, keep all in a list, write it at the end. Argument: a job."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import requests


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    session = requests.Session()
    session.verify = job["ca_path"]
    form = {
        "grant_type": "client_credentials",
        "client_id": job["client_id"],
        "client_secret": job["client_secret"],
        "scope": job["scope"],
    }
    answer = session.post(job["token_url"], data=form)
    answer.raise_for_status()
    session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
    session.headers["Prefer"] = job["prefer"]
    alerts = []
    link = job["first_url"]
    while link:
        answer = session.get(link)
        answer.raise_for_status()
        page = answer.json()
        alerts.extend(page["value"])
        link = page.get("@odata.nextLink")
    with open(job["output"] + "/alerts.jsonl", "w", encoding="utf-8") as stream:
        for alert in alerts:
            stream.write(json.dumps(alert) + "\n")


if __name__ == "__main__":
    main()
