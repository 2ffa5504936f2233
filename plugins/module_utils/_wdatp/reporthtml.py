# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A report as one page of HTML that needs nothing else: no server, no network, no script to be read.

The texts in an alert can be an attacker's. They are escaped, what is no visible letter is a question mark, and the page
forbids everything but its own style and script (Content Security Policy Level 3, hashes).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from html import escape
from typing import Any

from .reporttable import harmless, summary, window

# (heading, the events' key)
_COLUMNS = (
    ("Time (UTC)", "time"),
    ("Severity", "severity"),
    ("Title", "title"),
    ("Status", "status"),
    ("Device", "machine"),
    ("User", "user"),
    ("Organization", "organization"),
    ("ID", "id"),
)
_RANKS = {"high": 4, "medium": 3, "low": 2, "informational": 1}
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --high: #c0262d; --medium: #b35900; --low: #5b6b00; }
@media (prefers-color-scheme: dark) { :root { --high: #ff8080; --medium: #ffb060; --low: #cfdc5a; } }
body { font: 16px/1.45 system-ui, sans-serif; margin: 1.5rem; }
h1 { font-size: 1.4rem; margin: 0; }
p { margin: .3rem 0; }
ul { display: flex; flex-wrap: wrap; gap: .5rem; list-style: none; padding: 0; }
li { border: 1px solid var(--line); border-radius: .5rem; padding: .2rem .7rem; }
table { border-collapse: collapse; width: 100%; margin-top: 1rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid var(--line); }
td { overflow-wrap: anywhere; }
td:first-child, td:nth-child(2), td:nth-child(4) { white-space: nowrap; }
td:nth-child(3) { min-width: 15rem; }
td:last-child { font-size: .8rem; min-width: 6rem; }
th button { all: unset; cursor: pointer; }
th button:focus-visible { outline: 2px solid; }
th[aria-sort=ascending] button::after { content: " \\25B2"; }
th[aria-sort=descending] button::after { content: " \\25BC"; }
.high { color: var(--high); font-weight: 600; } .medium { color: var(--medium); } .low { color: var(--low); }
@media print { form { display: none; } body { margin: 0; font-size: 11px; } thead { display: table-header-group; } }
"""
# Sorting and searching, for whoever lets it run; all is on the page without it.
_SCRIPT = """
const form = document.querySelector("form"), body = document.querySelector("tbody");
if (form && body) {
  const rows = Array.from(body.rows), told = document.querySelector("output");
  const key = (row, column) => row.cells[column].dataset.rank || row.cells[column].textContent.toLowerCase();
  const search = () => {
    const words = form.elements.words.value.toLowerCase().split(/\\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every(word => text.includes(word));
      shown += row.hidden ? 0 : 1;
    }
    told.textContent = shown + " of " + rows.length;
  };
  form.hidden = false;
  form.addEventListener("submit", event => event.preventDefault());
  form.addEventListener("input", search);
  search();
  document.querySelectorAll("th").forEach((head, column) => {
    const button = document.createElement("button");
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      document.querySelectorAll("th").forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      rows.sort((a, b) => key(a, column).localeCompare(key(b, column)) * (up ? 1 : -1));
      body.append(...rows);
    });
  });
}
"""


def html_page(result: Mapping[str, Any]) -> str:
    """What report.report found, as a page."""
    policy = f"default-src 'none'; style-src '{_hash(_STYLE)}'; script-src '{_hash(_SCRIPT)}'; base-uri 'none'"
    counts = "".join(
        f'<li class="{_class(word)}">{_text(word)}: {count}</li>' for word, count in result["counts"].items() if count
    )
    notes = "".join(f"<p>{_text(note)}</p>\n" for note in result["notes"])
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>Microsoft Defender alerts</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>Microsoft Defender alerts</h1>
<p class="window">{_text(window(result))}</p>
<p>{_text(summary(result))}</p>
<ul aria-label="By severity">{counts}</ul>
{notes}{_table(result)}
<script>{_SCRIPT}</script>
</body>
</html>
"""


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _text(value: object) -> str:
    return escape(harmless(str(value)))


def _class(severity: str) -> str:
    """A severity that is new to us has no colour."""
    return severity if severity in _RANKS else "other"


def _table(result: Mapping[str, Any]) -> str:
    if not result["events"]:
        return ""
    heads = "".join(f'<th scope="col">{heading}</th>' for heading, _key in _COLUMNS)
    rows = "\n".join(_row(event) for event in result["events"])
    return f"""<form hidden>
<label>Search <input name="words" type="search" autocomplete="off"></label> <output></output>
</form>
<table>
<thead><tr>{heads}</tr></thead>
<tbody>
{rows}
</tbody>
</table>"""


def _row(event: Mapping[str, str | None]) -> str:
    cells = {key: _text(event[key] or "-") for _heading, key in _COLUMNS}
    cells["time"] = _text(f"{event['time'] or '-'}"[:19].replace("T", " "))
    cells["organization"] = _text(event["organization"] or event["tenant_id"])
    severity = str(event["severity"])
    marks = {"severity": f' class="{_class(severity)}" data-rank="{_RANKS.get(severity, 0)}"'}
    return "<tr>" + "".join(f"<td{marks.get(key, '')}>{text}</td>" for key, text in cells.items()) + "</tr>"
