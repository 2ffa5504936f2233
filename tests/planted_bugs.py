# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plants bugs, one at a time, and demands that a named test catches each: `python3 tests/planted_bugs.py [WORD...]`.

Each bug is one piece of the engine's text with another in its place, in a copy of the collection. Its test has to fail
there, on what it asserts, and to pass without the bug. Words choose bugs by their names. pytest has to be installed
for the Python that runs this; `python3 tools/check.py bugs` sees to it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
ENGINE = "plugins/module_utils/_wdatp"
TESTS = "tests/unit/plugins/module_utils/_wdatp"
# What a test needs of the checkout.
NEEDED = ("plugins", "tests", "pyproject.toml")
# What pytest says of a test that saw something wrong, and not of one that could not run.
ASSERTS = ("assert", "AssertionError", "Failed: DID NOT RAISE")

# Seconds: a bug may well be one that never ends.
PATIENCE = 120


class Bug(NamedTuple):
    name: str
    file: str
    text: str
    instead: str
    test: str


BUGS = (
    Bug(
        "'gt' where 'ge' is needed: ties on the border of a page are lost",
        "sources/base.py",
        'f"{self.time_field} ge {format_time(span.low)}"',
        'f"{self.time_field} gt {format_time(span.low)}"',
        "test_peers.py::test_peer_13_alerts_with_the_same_time_are_skipped",
    ),
    Bug(
        "the cursor is saved in a transaction of its own, before the events",
        "pull.py",
        "        with store.transaction():\n            store.remember(",
        "        with store.transaction():\n            if cursor is not None:\n"
        "                store.set_cursor(self.number, self.filter_key, cursor)\n        with store.transaction():\n"
        "            store.remember(",
        "test_stateful.py::test_small_pull_that_is_killed_anywhere",
    ),
    Bug(
        "429 is taken for the end of the window",
        "client.py",
        "        if reply.status not in (200, 206):\n",
        "        if reply.status == 429:\n            return Reply(200, reply.headers, b'{\"value\": []}', reply.url)\n"
        "        if reply.status not in (200, 206):\n",
        "test_peers.py::test_peer_06_throttling_is_taken_for_the_end_of_the_window",
    ),
    Bug(
        "a link to another host is followed, with the token",
        "asker.py",
        "        if not self._is_ours(url):\n            return None\n",
        "",
        "test_fault_walk.py::test_fault_next_link_leads_to_another_host",
    ),
    Bug(
        "a page that is shorter than asked for is taken for the last",
        "paging.py",
        "answer.rows < min(self.largest, self.full)",
        "answer.rows < self.full",
        "test_fault_walk.py::test_fault_page_is_clamped_below_what_was_asked",
    ),
    Bug(
        "a torn last line is cut off, not finished",
        "destinations/file.py",
        "            done = self._already_there(progress, text) or 0\n",
        "            done = os.ftruncate(self._handle, progress.position) or 0\n",
        "test_file_destination.py::test_what_a_reader_has_seen_is_never_taken_back",
    ),
    Bug(
        "a partial answer releases what was put aside",
        "pull.py",
        "        if walk.bad_slices or walk.is_partial:\n",
        "        if walk.bad_slices:\n",
        "test_late_and_bad.py::test_partial_answer_does_not_release_what_was_put_aside",
    ),
    Bug(
        "what waits is delivered without a look at the file of a restored state",
        "holdings.py",
        "                self._outbox.leave_out_found(item)\n",
        "                self._store.save_progress(self._outbox.job, [progress])\n",
        "test_reconcile.py::test_backup_with_events_that_waited",
    ),
    Bug(
        "a batch counts as written before it is on the disk",
        "destinations/file.py",
        "            self._append(memoryview(text)[done:])\n            os.fsync(self._handle)\n",
        "            self._append(memoryview(text)[done:])\n",
        "test_file_destination.py::test_what_is_written_is_on_the_disk_before_it_counts",
    ),
    Bug(
        "the cursor passes a bad moment that nobody has noted",
        "pull.py",
        "                if batch.bad:\n                    self._set_aside(batch.bad)\n",
        "",
        "test_fault_api.py::test_fault_one_alert_makes_every_answer_fail",
    ),
    Bug(
        "the overlap is not read again",
        "pull.py",
        "self.cursor.ticks - options.overlap_for(self.lateness)",
        "self.cursor.ticks",
        "test_fault_late.py::test_fault_alerts_become_visible_later_than_their_time_says",
    ),
    Bug(
        "a partial answer (206) moves the cursor",
        "paging.py",
        "key=lambda event: event.ticks), not self.is_partial)",
        "key=lambda event: event.ticks), True)",
        "test_paging.py::test_partial_answer_holds_the_cursor",
    ),
    Bug(
        "the cursor is a time of our own spelling",
        "pull.py",
        "Cursor(event.version, event.ticks)",
        "Cursor(format_time(event.ticks), event.ticks)",
        "test_stateful.py::test_cursor_is_spelled_as_the_service_does",
    ),
    Bug(
        "duplicates are told by their id alone: updates are lost",
        "ledger.py",
        "            elif version in before.versions:\n",
        "            elif before.versions.setdefault(version, True):\n",
        "test_pull.py::test_updated_alerts_are_written_in_both_versions",
    ),
    Bug(
        "the ledger forgets what the APIs still give",
        "store.py",
        "(stream, day - LEDGER_DAYS))",
        "(stream, day))",
        "test_store.py::test_ledger_forgets_what_no_api_gives_any_more",
    ),
    Bug(
        "$skip goes beyond what the API allows",
        "paging.py",
        "return rows if limit is None else min(rows, limit)",
        "return rows",
        "test_paging.py::test_more_ties_than_skip_reaches_are_divided_by_creation",
    ),
    Bug(
        "the outbox drops what one destination has and another lacks",
        "store.py",
        "SELECT min(acked) FROM destination",
        "SELECT max(acked) FROM destination",
        "test_outbox.py::test_the_next_run_catches_up_in_order",
    ),
    Bug(
        "JSON is written anew and not kept as it came",
        "page.py",
        "self.make(self.body[start:end], fields)",
        "self.make(json.dumps(json.loads(self.body[start:end], strict=False)).encode(), fields)",
        "test_page.py::test_a_row_is_the_slice_that_was_sent",
    ),
    Bug(
        "the lock of a store is opened, but not taken",
        "store.py",
        "            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
        "",
        "test_fault_store.py::test_fault_second_run_starts_at_the_same_moment",
    ),
    Bug(
        "what a service says is shown with the secret in it",
        "client.py",
        "error_body(reply.body, self.redactor.text)",
        "error_body(reply.body)",
        "test_client.py::test_secrets_in_an_answer_are_masked",
    ),
    Bug(
        "a row that came before is handed over again on a border",
        "paging.py",
        "            if key not in known and key not in fresh:\n",
        "            if key not in fresh:\n",
        "test_paging.py::test_a_tie_at_each_border",
    ),
    Bug(
        "this host's clock is believed, not Microsoft's",
        "transport.py",
        "return now_ticks() + (self.clock_offset or 0)",
        "return now_ticks()",
        "test_transport.py::test_time_is_the_servers",
    ),
    Bug(
        "a secret that was rotated in CyberArk is not fetched again",
        "cyberark.py",
        "return self._held() != before",
        "return False",
        "test_cyberark_rotation.py::test_rotated_in_mid_drain",
    ),
    Bug(
        "an answer of CyberArk's that can't be read is quoted, and the secret with it",
        "cyberark.py",
        "_kind_of(reply.body))",
        "str(reply.body))",
        "test_cyberark.py::test_what_is_no_account_is_named_and_never_quoted",
    ),
    Bug(
        "leak: a warning names the proxy's password",
        "definitions.py",
        "    if password:\n",
        '    if password:\n        notify(f"{password} is kept")\n',
        "test_leaks_engine.py::test_proxys_password_leaks_nowhere",
    ),
    Bug(
        "leak: an error's message has the secret, url-encoded",
        "aadsts.py",
        '"secret": identity.secret.describe() if identity.secret else "none was given"',
        '"secret": __import__("urllib.parse").parse.quote(identity.secret.read()) if identity.secret else ""',
        "test_leaks_engine.py::test_nothing_leaks_where_something_fails",
    ),
    Bug(
        "leak: the manifest has the secret in base64",
        "pull.py",
        "{**stream.for_manifest(), **batches_of(own)}",
        "{**stream.for_manifest(), **batches_of(own), 'app': __import__('base64').b64encode("
        "b'app:' + str(next(iter(self.context.redactor._lasting), '')).encode()).decode()}",
        "test_leaks_engine.py::test_nothing_leaks_where_all_is_well",
    ),
    Bug(
        "leak: the test's result has the token",
        "connectivity.py",
        "self.report.token_roles = sorted(token.roles)",
        "self.report.token_roles = [token.access_token]",
        "test_leaks_engine.py::test_nothing_leaks_where_all_is_well",
    ),
    Bug(
        "leak: the secret is among the arguments of systemd-creds",
        "sealing.py",
        'f"--name={name}", source, "-"]',
        'f"--name={name}", source, "-", text]',
        "test_leaks_engine.py::test_program_that_encrypts_gets_the_secret_by_its_input_only",
    ),
    Bug(
        "leak: systemd-creds gets the environment, secrets and all",
        "sealing.py",
        'env={"PATH": _PLACES}',
        'env={**os.environ, "PATH": _PLACES}',
        "test_leaks_engine.py::test_program_that_encrypts_gets_the_secret_by_its_input_only",
    ),
    Bug(
        "leak: the definition's file has the secret",
        "credentials.py",
        "schema, _format(credential))",
        "schema, {**_format(credential), **secrets})",
        "test_leaks_engine.py::test_nothing_leaks_where_all_is_well",
    ),
    Bug(
        "leak: the error behind an error has the secret",
        "details.py",
        "        text = None\n    if",
        '        raise _unusable(path, "it is no text")\n    if',
        "test_leaks_engine.py::test_nothing_leaks_where_something_fails",
    ),
    Bug(
        "leak: the store keeps an answer in which the token comes back",
        "asker.py",
        "first_line(body, self.client.redactor.text)",
        "first_line(body)",
        "test_leaks_engine.py::test_moment_that_is_put_aside_keeps_no_secret",
    ),
    Bug(
        "leak: what was refused is noted with the secret",
        "refusals.py",
        '"last": now,\n',
        '"last": now,\n                "proof": [part.decode() for part in proof()],\n',
        "test_leaks_engine.py::test_nothing_leaks_where_something_fails",
    ),
    Bug(
        "leak: a text from outside is cut short first, and searched for secrets then",
        "transport.py",
        'hide(text.splitlines()[0].strip()) if text else ""',
        'hide(text.splitlines()[0].strip()[:EXCERPT]) if text else ""',
        "test_leaks_engine.py::test_a_secret_that_is_cut_off_is_still_hidden",
    ),
    Bug(
        "leak: a token's repr shows it",
        "auth.py",
        "access_token: str = field(repr=False)",
        "access_token: str",
        "test_leaks_engine.py::test_tokens_have_no_readable_repr",
    ),
    Bug(
        "leak: the system's log gets the proxy's password",
        "../_module.py",
        "        self._mask()\n        super()._log_invocation()",
        "        super()._log_invocation()",
        "../../modules/test_leaks_results.py::test_systems_log_gets_no_password",
    ),
    Bug(
        "a secret that is a word is masked in alerts and figures too",
        "../_module.py",
        "self.no_log_values = {form for form in self.no_log_values if form not in texts}",
        "del texts",
        "../../modules/test_leaks_results.py::test_masking_changes_no_alert_and_no_figure",
    ),
    Bug(
        "a tenant that is held back counts as one that failed once more",
        "pull.py",
        " and not self.is_dry and not report.is_held:",
        " and not self.is_dry:",
        "test_jobs.py::test_a_tenant_that_fails_backs_off_alone",
    ),
    Bug(
        "whoever takes long is in the way of the others",
        "crew.py",
        "slow = sum(age >= _SLOW_SECONDS for age in self._ages())",
        "slow = 0",
        "test_jobs.py::test_who_takes_long_makes_room",
    ),
    Bug(
        "a tenant that was given to another collector is pulled here, too",
        "moving.py",
        "    if rows and rows[0][0] is not None:\n",
        "    if not rows:\n",
        "test_jobs.py::test_a_tenant_moves_without_loss_and_without_doubles",
    ),
    Bug(
        "a tenant under two names is pulled twice",
        "pull.py",
        "is_taken = number >= 0 and number in self._claimed",
        "is_taken = False",
        "test_jobs.py::test_a_tenant_under_two_names_is_pulled_once",
    ),
    Bug(
        "an export leaves behind what waits in the outbox",
        "moving.py",
        "        _check_delivered(store, streams, who)\n",
        "",
        "test_jobs.py::test_what_waits_in_the_outbox_is_not_left_behind",
    ),
    Bug(
        "a job that has stopped is fine",
        "verdict.py",
        "    if age > late:\n",
        "    if False:\n",
        "test_status.py::test_verdict",
    ),
    Bug(
        "the program lacks what a command imports late",
        "program.py",
        "ast.walk(ast.parse(text))",
        "ast.parse(text).body",
        "test_cli.py::test_the_program_holds_the_whole_engine",
    ),
    Bug(
        "an alert's title is HTML",
        "reporthtml.py",
        "return escape(harmless(str(value)))",
        "return harmless(str(value))",
        "test_report.py::test_no_alert_breaks_the_page",
    ),
)


class Outcome(NamedTuple):
    """`tests`: how many ran. `failures`: what the failed ones said; `errors`: of those that could not run."""

    tests: int
    failures: list[str]
    errors: list[str]
    output: str


def main(words: list[str]) -> int:
    bugs = [bug for bug in BUGS if all(word.lower() in bug.name.lower() for word in words)]
    with tempfile.TemporaryDirectory(prefix="wdatp_bugs_") as scratch, ThreadPoolExecutor(2) as pool:
        healthy = pool.submit(_run, Path(scratch, "healthy"), sorted({bug.test for bug in bugs}))
        verdicts = list(pool.map(lambda item: _try(Path(scratch, str(item[0])), item[1]), enumerate(bugs)))
        problem = _sickness(healthy.result())
    width = max((len(bug.name) for bug in bugs), default=0)
    for bug, verdict in zip(bugs, verdicts):
        print(f"{bug.name:{width}}  {'caught' if not verdict else 'NOT CAUGHT'}  {bug.test}")
    for bug, verdict in zip(bugs, verdicts):
        if verdict:
            print(f"\n{bug.name}: {verdict}")
    if problem:
        print(f"\nwithout any bug: {problem}")
    caught = verdicts.count("")
    print(f"{caught} of {len(bugs)} bugs were caught")
    return int(bool(problem) or caught < len(bugs) or not bugs)


def _try(tree: Path, bug: Bug) -> str:
    """Empty where the bug was caught, else what went wrong."""
    source = ROOT / ENGINE / bug.file
    text = source.read_text()
    if text.count(bug.text) != 1:
        return f"its text is {text.count(bug.text)} times in {ENGINE}/{bug.file}, not once; it has to follow the code"
    _copy(tree)
    (tree / ENGINE / bug.file).write_text(text.replace(bug.text, bug.instead))
    outcome = _run(tree, [bug.test], is_copied=True)
    if outcome.errors or not outcome.tests:
        return f"its test could not run\n{outcome.output}"
    if not outcome.failures:
        return "its test passes with the bug"
    others = [text for text in outcome.failures if not text.startswith(ASSERTS)]
    if len(others) == len(outcome.failures):
        return f"its test fails, but asserts nothing: {others[0]}"
    return ""


def _sickness(outcome: Outcome) -> str:
    return "" if outcome.tests and not outcome.failures + outcome.errors else f"tests fail\n{outcome.output}"


def _copy(tree: Path) -> None:
    for name in NEEDED:
        source, target = ROOT / name, tree / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)


def _run(tree: Path, tests: Iterable[str], is_copied: bool = False) -> Outcome:
    if not is_copied:
        _copy(tree)
    results = tree / "results.xml"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--exitfirst",
        f"--junit-xml={results}",
        *(f"{TESTS}/{test}" for test in tests),
    ]
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True, check=False, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return Outcome(0, [], [], f"still running after {PATIENCE} seconds")
    output = done.stdout + done.stderr
    if not results.is_file():
        return Outcome(0, [], [], output)
    cases = list(ElementTree.parse(results).getroot().iter("testcase"))
    failures, errors = (
        [item.get("message", "") for case in cases for item in case.iter(kind)] for kind in ("failure", "error")
    )
    return Outcome(len(cases), failures, errors, output)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
