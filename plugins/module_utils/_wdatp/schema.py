# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of the store: those of its first version, and the steps to the present one, which a new store takes, too.

What a table is for:

* job, stream, cursor: what belongs together; one tenant and one API of it (`moved`: when it was given to another
  collector); how far each set of filters is
* quarantine: moments that could not be read yet
* ledger: every version of every event that was met; `written`: it went to the destinations (see `updates`)
* batch: the outbox; `destination`: for this one only, null: for all of the job
* destination: how far each is; `end`, `mtime`: how the store left the file
* found: events that a file holds although the store does not know of them
* shown: a few columns of each event that was written, for the report, one row for each batch; of some days only.
  `first`, `last`: the update times in it
* health: how each stream fared last; run: how the last run of each job did
* part, manifest: what was committed since the last entry of the manifest, and its newest entries
"""

from __future__ import annotations

import sqlite3

# "wdat"; tells this file from any other SQLite database.
APPLICATION_ID = 0x77646174
SCHEMA = 3

_FIRST = """
CREATE TABLE job (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE stream (
  id INTEGER PRIMARY KEY, job INTEGER NOT NULL REFERENCES job, tenant TEXT NOT NULL, api TEXT NOT NULL,
  lateness INTEGER NOT NULL DEFAULT 0, lateness_day INTEGER NOT NULL DEFAULT 0,
  UNIQUE (job, tenant, api));
CREATE TABLE cursor (
  stream INTEGER NOT NULL REFERENCES stream, filter TEXT NOT NULL, value TEXT NOT NULL, ticks INTEGER NOT NULL,
  PRIMARY KEY (stream, filter)) WITHOUT ROWID;
CREATE TABLE quarantine (
  stream INTEGER NOT NULL REFERENCES stream, filter TEXT NOT NULL, low INTEGER NOT NULL, high INTEGER NOT NULL,
  since TEXT NOT NULL, code TEXT NOT NULL, message TEXT NOT NULL, PRIMARY KEY (stream, filter, low)) WITHOUT ROWID;
CREATE TABLE ledger (
  stream INTEGER NOT NULL, id INTEGER NOT NULL, version INTEGER NOT NULL, content INTEGER, day INTEGER NOT NULL,
  PRIMARY KEY (stream, id, version)) WITHOUT ROWID;
CREATE TABLE batch (
  id INTEGER PRIMARY KEY AUTOINCREMENT, job INTEGER NOT NULL REFERENCES job, size INTEGER NOT NULL,
  received_at TEXT NOT NULL, first_sequence INTEGER NOT NULL, origin TEXT NOT NULL, ids TEXT NOT NULL,
  lines BLOB NOT NULL);
CREATE TABLE destination (
  id INTEGER PRIMARY KEY, job INTEGER NOT NULL REFERENCES job, target TEXT NOT NULL, acked INTEGER NOT NULL,
  intent INTEGER, position INTEGER, device INTEGER, inode INTEGER,
  UNIQUE (job, target));
CREATE TABLE sequence (next INTEGER NOT NULL);
INSERT INTO sequence VALUES (1);
"""
# From the schema of this number to the next one.
_STEPS = {
    1: """
ALTER TABLE stream ADD COLUMN pruned_day INTEGER NOT NULL DEFAULT 0;
ALTER TABLE ledger ADD COLUMN written INTEGER NOT NULL DEFAULT 1;
ALTER TABLE batch ADD COLUMN destination INTEGER;
ALTER TABLE destination ADD COLUMN "end" INTEGER NOT NULL DEFAULT -1;
ALTER TABLE destination ADD COLUMN mtime INTEGER NOT NULL DEFAULT 0;
CREATE TABLE found (
  destination INTEGER NOT NULL, mark INTEGER NOT NULL, day INTEGER NOT NULL,
  PRIMARY KEY (destination, mark)) WITHOUT ROWID;
CREATE TABLE part (
  batch INTEGER PRIMARY KEY, stream INTEGER NOT NULL, destination INTEGER, size INTEGER NOT NULL,
  first_line TEXT NOT NULL, sha256 TEXT NOT NULL, first_id TEXT NOT NULL, last_id TEXT NOT NULL);
CREATE TABLE manifest (run INTEGER PRIMARY KEY, line BLOB NOT NULL, is_written INTEGER NOT NULL DEFAULT 0);
""",
    2: """
ALTER TABLE stream ADD COLUMN moved TEXT;
CREATE TABLE shown (
  number INTEGER PRIMARY KEY, stream INTEGER NOT NULL, organization TEXT, received INTEGER NOT NULL,
  first INTEGER NOT NULL, last INTEGER NOT NULL, events TEXT NOT NULL);
CREATE INDEX shown_last ON shown (last);
CREATE TABLE health (
  job INTEGER NOT NULL, tenant TEXT NOT NULL, api TEXT NOT NULL, credential TEXT NOT NULL, organization TEXT,
  stream INTEGER,
  attempted INTEGER NOT NULL, succeeded INTEGER, reached INTEGER, skew INTEGER NOT NULL DEFAULT 0,
  quarantined INTEGER NOT NULL DEFAULT 0, failures INTEGER NOT NULL DEFAULT 0, retry_at INTEGER,
  code TEXT, message TEXT, remedy TEXT, since INTEGER, secret_ends INTEGER,
  PRIMARY KEY (job, tenant, api, credential)) WITHOUT ROWID;
CREATE TABLE run (
  job INTEGER PRIMARY KEY, began INTEGER NOT NULL, ended INTEGER, complete INTEGER, figures TEXT);
""",
}


def create(db: sqlite3.Connection) -> None:
    """The tables of the present schema, all or nothing."""
    _run(db, f"PRAGMA application_id={APPLICATION_ID}; {_FIRST} {_steps_from(1)}")


def migrate(db: sqlite3.Connection, version: int) -> None:
    """From the schema `version` to the present one, all or nothing; nothing that was kept is lost on the way."""
    _run(db, _steps_from(version))


def _steps_from(version: int) -> str:
    return "".join(_STEPS[number] for number in range(version, SCHEMA))


def _run(db: sqlite3.Connection, script: str) -> None:
    try:
        db.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version={SCHEMA}; COMMIT;")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
