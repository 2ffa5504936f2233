# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""dlt: its REST source with OAuth2 client credentials into JSON Lines files. Argument: a job.

The fastest sensible settings: no child tables, no compression of files, no telemetry, no state, no deduplication.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    os.environ.update(
        DATA_WRITER__DISABLE_COMPRESSION="true",
        NORMALIZE__DATA_WRITER__DISABLE_COMPRESSION="true",
        RUNTIME__DLTHUB_TELEMETRY="false",
        RUNTIME__LOG_LEVEL="ERROR",
        # Names stay as they are.
        SCHEMA__NAMING="direct",
        REQUESTS_CA_BUNDLE=job["ca_path"],
    )
    import dlt
    from dlt.sources.rest_api import rest_api_source

    source = rest_api_source(
        {
            "client": {
                "base_url": job["url"],
                "headers": {"Prefer": job["prefer"]},
                "auth": {
                    "type": "oauth2_client_credentials",
                    "access_token_url": job["token_url"],
                    "client_id": job["client_id"],
                    "client_secret": job["client_secret"],
                    "access_token_request_data": {"scope": job["scope"]},
                },
                "paginator": {"type": "json_link", "next_url_path": "'@odata.nextLink'"},
            },
            "resources": [
                {
                    "name": "alerts",
                    "write_disposition": "append",
                    "endpoint": {"path": job["path"], "params": job["params"], "data_selector": "value"},
                }
            ],
        },
        max_table_nesting=0,
    )
    pipeline = dlt.pipeline(
        pipeline_name="alerts",
        pipelines_dir=job["output"] + "/pipelines",
        destination=dlt.destinations.filesystem("file://" + job["output"] + "/files"),
        dataset_name="defender",
    )
    pipeline.run(source, loader_file_format="jsonl").raise_on_failed_jobs()


if __name__ == "__main__":
    main()
