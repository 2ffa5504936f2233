# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP: one session, one place for TLS, CA, proxy, timeouts, pacing, retries, compression and the User-Agent.

Knows nothing of the APIs. Answers come back whatever their status is; faults of the network become TransportError.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .config import HttpOptions
from .errors import DependencyError, TransportError
from .faults import explain
from .times import SECOND, now_ticks, parse_http_date
from .version import VERSION

if TYPE_CHECKING:
    import requests
    from urllib3.util.retry import Retry

    from .pace import Pace

# Worth another try, on every API; 408 and 504 are time-outs on the way. RFC 9110 section 15; Graph error responses.
_RETRY_STATUS = frozenset((408, 429, 500, 502, 503, 504))
# With Retry-After, these speak for all requests and not for this one alone.
_HOLD_STATUS = (429, 503)
# A connection that is refused or a name that is unknown seldom heals within seconds.
_CONNECT_RETRIES = 2
_BACKOFF_SECONDS = 0.5
_BACKOFF_MAX_SECONDS = 60.0
# Asked to wait longer than this, a run ends and says so; the next one goes on.
LONGEST_WAIT_SECONDS = 300.0
# A whole answer may take so many times the time-out of one read; slower is a fault.
_PATIENCE = 10
# Waits from here on are worth a word.
_LONG_SECONDS = 5
# Bytes of one answer, decompressed: all of it is in memory, and so much is no page of any sensible size.
LARGEST_ANSWER = 64 << 20
# Compressed bytes that are unpacked at a time: they may become a thousand times as many.
_CHUNK = 1 << 14
_SMALL_CHUNK = 1 << 11
# Of a text from outside, so much is shown, and so much looked at for secrets: the longest tokens are a part of it.
EXCERPT = 160
_MOST_SEARCHED = 1 << 16


@dataclass
class Counters:
    """What the requests of a run have cost."""

    requests: int = 0
    throttled: int = 0
    retried: int = 0


@dataclass(frozen=True)
class Reply:
    """An answer with its whole body, decompressed."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str

    @property
    def place(self) -> str:
        return place(self.url)


def place(url: str) -> str:
    """Host and path, without the query: fit for messages."""
    parts = urlsplit(url)
    return f"{parts.netloc}{parts.path}"


def skew_words(skew: int) -> str:
    """How far this host's clock is ahead (seconds), as a sentence's beginning."""
    side = "ahead of" if skew > 0 else "behind"
    return f"this host's clock is {abs(skew)} s {side} Microsoft's" if skew else "this host's clock is right"


def first_line(body: bytes, hide: Callable[[str], str] = str) -> str:
    """The first line of a body that is not what was expected, short and printable. `hide` masks secrets in it."""
    text = body[:_MOST_SEARCHED].decode("utf-8", "replace").lstrip("\ufeff").strip()
    line = hide(text.splitlines()[0].strip()) if text else ""
    return "".join(letter if letter.isprintable() else "?" for letter in line)[:EXCERPT]


class Transport:
    """One session of requests with the options of a connection.

    `notify` gets a sentence for people when a wait is long. `deadline`: time.monotonic() after which no wait begins.
    """

    def __init__(
        self,
        options: HttpOptions,
        notify: Callable[[str], None] = lambda text: None,
        deadline: float | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.options = options
        self.counters = Counters()
        self.deadline = deadline
        self._notify = notify
        self._sleep = sleep
        self._session: requests.Session | None = None
        # Keeping a limit means many waits: one sentence is enough.
        self._has_said_pace = False
        # Server time minus this host's, in ticks; None until an answer has told it.
        self.clock_offset: int | None = None

    # --- time ------------------------------------------------------------------------------------------------------

    def server_now(self) -> int:
        """Microsoft's time in ticks, as the last Date header tells it; this host's clock until there is one."""
        return now_ticks() + (self.clock_offset or 0)

    @property
    def skew_seconds(self) -> int | None:
        """How far this host's clock is ahead of Microsoft's; None until an answer has told it."""
        return None if self.clock_offset is None else round(self.clock_offset / -SECOND)

    def _note_date(self, headers: Mapping[str, str]) -> None:
        date = parse_http_date(headers.get("Date", ""))
        if date is not None:
            # The header has whole seconds, cut off: half a second is the best guess for the rest.
            self.clock_offset = date + SECOND // 2 - now_ticks()

    # --- requests --------------------------------------------------------------------------------------------------

    def request(
        self,
        method: str,
        url: str,
        params: Sequence[tuple[str, str]] = (),
        data: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        bearer: str | None = None,
        retry_status: bool = True,
        retries: int | None = None,
        slow_retries: int | None = None,
        pace: Pace | None = None,
    ) -> Reply:
        """The answer, after as many tries as `retries` or the options allow. TransportError where there is none.

        `slow_retries`: how many of them may follow an answer that was too slow; None: all. `pace`: when each try may
        go out. ApiError (429) where that is later than this run waits.
        """
        # First of all: it knows what to say where requests is missing.
        session = self.session
        from urllib3.exceptions import MaxRetryError

        retry = self._retry(self.options.retries if retries is None else retries)
        slow = 0
        while True:
            reply: Reply | None = None
            fault: Exception | None = None
            if pace is not None:
                self._keep(pace, url)
            try:
                reply = self._once(session, method, url, params, data, headers, bearer)
            except _faults() as error:
                fault = error
            if reply is not None and not (retry_status and reply.status in _RETRY_STATUS):
                return reply
            if reply is not None:
                self._note_hold(reply, pace)
            failure = None if fault is None else self._explained(fault, url)
            slow += failure is not None and failure.error.wants_less
            is_too_slow = slow_retries is not None and slow > slow_retries
            if failure is not None and (is_too_slow or not failure.is_passing):
                raise failure.error from fault
            try:
                retry = retry.increment(method, place(url), error=_retry_kind(failure.is_connect) if failure else None)
            except MaxRetryError:
                return self._give_up(reply, failure, fault)
            wait = self._wait(retry, reply)
            if not self._may_wait(wait):
                return self._give_up(reply, failure, fault)
            self.counters.retried += 1
            if wait >= _LONG_SECONDS:
                self._notify(f"{place(url)}: waiting {wait:.0f} s before another try ({_cause(reply, failure)}).")
            self._sleep(wait)

    def _explained(self, fault: Exception, url: str) -> Any:
        failure = explain(fault, url, self.options, self.route(url)[0])
        # There is no time for smaller pages either.
        failure.error.wants_less = failure.error.wants_less and not self.is_late()
        return failure

    def _keep(self, pace: Pace, url: str) -> None:
        wait = pace.take(self._longest_wait())
        if wait.seconds >= _LONG_SECONDS and not self._has_said_pace:
            self._has_said_pace = True
            self._notify(f"{place(url)}: waiting {wait.seconds:.0f} s ({wait.why}).")
        if wait.seconds:
            self._sleep(wait.seconds)
            if pace.is_held():
                # Another run has been asked to wait in the meantime.
                self._keep(pace, url)

    def _note_hold(self, reply: Reply, pace: Pace | None) -> None:
        """What an answer says to all who ask for this app and tenant."""
        if reply.status == 429:
            self.counters.throttled += 1
        asked = self.retry_after(reply) if reply.status in _HOLD_STATUS else None
        if asked and pace is not None:
            pace.hold(asked)

    def _give_up(self, reply: Reply | None, failure: Any, fault: Exception | None) -> Reply:
        if reply is not None:
            return reply
        raise failure.error from fault

    def _retry(self, total: int) -> Retry:
        from urllib3.util.retry import Retry

        return Retry(total=total, connect=min(total, _CONNECT_RETRIES), backoff_factor=_BACKOFF_SECONDS)

    def _wait(self, retry: Retry, reply: Reply | None) -> float:
        """Seconds to wait: what the server asks for (RFC 9110, section 10.2.3), else more from try to try."""
        asked = self.retry_after(reply) if reply is not None else None
        return min(retry.get_backoff_time(), _BACKOFF_MAX_SECONDS) if asked is None else asked

    def retry_after(self, reply: Reply) -> float | None:
        """Seconds that the answer asks to wait, or None. A date is taken by the server's own clock."""
        text = reply.headers.get("Retry-After", "").strip()
        if text.isascii() and text.isdigit():
            return float(text)
        until = parse_http_date(text) if text else None
        if until is None:
            return None
        sent = parse_http_date(reply.headers.get("Date", ""))
        return max(0.0, (until - (self.server_now() if sent is None else sent)) / SECOND)

    def _may_wait(self, seconds: float) -> bool:
        return seconds <= self._longest_wait()

    def is_late(self) -> bool:
        """Whether the deadline is over."""
        return self.deadline is not None and time.monotonic() >= self.deadline

    def _longest_wait(self) -> float:
        """Seconds; less than none where the time is over."""
        if self.deadline is None:
            return LONGEST_WAIT_SECONDS
        return min(self.deadline - time.monotonic(), LONGEST_WAIT_SECONDS)

    def _once(
        self,
        session: requests.Session,
        method: str,
        url: str,
        params: Sequence[tuple[str, str]],
        data: Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
        bearer: str | None,
    ) -> Reply:
        options = self.options
        self.counters.requests += 1
        response = session.request(
            method,
            f"{url}?{encode_query(params)}" if params else url,
            data=data,
            headers=dict(headers or {}),
            # A callable, so that no ~/.netrc entry takes the place of our header.
            auth=_Authorization(bearer),
            timeout=options.timeout,
            # For each call: REQUESTS_CA_BUNDLE would beat Session.verify.
            verify=self._verify,
            cert=self.options.client_certificate,
            proxies=self._proxies,
            allow_redirects=False,
            stream=True,
        )
        try:
            self._note_date(response.headers)
            # urllib3 before 2.0 takes an answer that was cut off for a whole one.
            response.raw.enforce_content_length = True
            encoding = response.headers.get("Content-Encoding", "")
            body = _read_all(response.raw, encoding, time.monotonic() + _PATIENCE * options.timeout, place(url))
        finally:
            # A connection whose answer was read to its end goes back to the pool all the same.
            response.close()
        return Reply(response.status_code, response.headers, body, url)

    @property
    def _verify(self) -> bool | str:
        return (self.options.ca_path or True) if self.options.validate_certs else False

    @property
    def _proxies(self) -> dict[str, str]:
        if self.options.is_direct:
            # To requests, it takes the place of the environment's NO_PROXY.
            return {"no_proxy": "*"}
        return {"https": self.options.proxy} if self.options.proxy else {}

    def route(self, url: str) -> tuple[str | None, bool | str]:
        """(proxy, what certificates are checked against) for an address: our options, else what requests finds in the
        environment (HTTPS_PROXY, NO_PROXY, REQUESTS_CA_BUNDLE)."""
        from requests.utils import select_proxy

        found = self.session.merge_environment_settings(url, self._proxies, None, self._verify, None)
        proxy = str(select_proxy(url, found["proxies"]) or "")
        return (proxy if "://" in proxy else f"http://{proxy}") if proxy else None, found["verify"] or False

    @property
    def session(self) -> requests.Session:
        if self._session is None:
            self._session = _new_session(self.options)
        return self._session

    def close(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None


class _Authorization:
    """Sets our bearer token, or nothing; as `auth` it also keeps requests from looking into ~/.netrc."""

    def __init__(self, bearer: str | None) -> None:
        self._bearer = bearer

    def __call__(self, request: Any) -> Any:
        if self._bearer:
            request.headers["Authorization"] = f"Bearer {self._bearer}"
        return request


def encode_query(params: Sequence[tuple[str, str]]) -> str:
    """The query string. OData's own marks stay readable; spaces become %20, as + is read literally by some."""
    from urllib.parse import quote, urlencode

    return urlencode(list(params), quote_via=quote, safe="$:,'()")


def _new_session(options: HttpOptions) -> requests.Session:
    try:
        import requests
    except ImportError:
        raise DependencyError("requests") from None
    if not options.validate_certs:
        import urllib3

        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    session = requests.Session()
    session.headers.update(
        {
            "User-Agent": f"secops.defender/{VERSION} (Ansible collection) python-requests/{requests.__version__}",
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
        }
    )
    return session


def _read_all(raw: Any, encoding: str, deadline: float, where: str) -> bytes:
    """The decompressed body. A read that trickles would never time out by itself, so the whole has a deadline too."""
    chunks: list[bytes] = []
    size = 0
    for chunk in _decompressed(_pieces(raw, deadline), encoding):
        chunks.append(chunk)
        size += len(chunk)
        if size > LARGEST_ANSWER:
            raise TransportError(
                f"{where} sent an answer of more than {LARGEST_ANSWER >> 20} MB, which was not read to its end.",
                "Set a smaller page_size.",
                code="network.too_large",
                wants_less=True,
            )
    return b"".join(chunks)


def _pieces(raw: Any, deadline: float) -> Iterator[bytes]:
    """The body as it arrives. read1 (urllib3 2.1 and later) returns what is there; stream waits for whole pieces.

    Not decompressed by urllib3: it would read on, past any deadline, until the compressed bytes make a plain one.
    """
    if hasattr(raw, "read1"):
        pieces = iter(lambda: raw.read1(_CHUNK, decode_content=False), b"")
    else:
        pieces = raw.stream(_SMALL_CHUNK, decode_content=False)
    for piece in pieces:
        yield piece
        if time.monotonic() > deadline:
            raise TimeoutError("the answer trickles in too slowly")


def _decompressed(pieces: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """urllib3's DecodeError where they are not what `encoding` says."""
    import urllib3

    decoders = {"gzip": urllib3.response.GzipDecoder, "deflate": urllib3.response.DeflateDecoder}
    kind = decoders.get(encoding.strip().lower())
    if kind is None:
        yield from pieces
        return
    decoder = kind()
    try:
        for piece in pieces:
            yield decoder.decompress(piece)
    except zlib.error as error:
        raise urllib3.exceptions.DecodeError(f"the answer is not {encoding}: {error}") from error


def _faults() -> tuple[type[Exception], ...]:
    import requests
    import urllib3

    # requests' own errors are OSErrors too; urllib3's come up while a body is read.
    return (OSError, requests.RequestException, urllib3.exceptions.HTTPError)


def _retry_kind(is_connect: bool) -> Exception:
    """An error of the class that makes urllib3's Retry count a failed connect apart from a broken answer."""
    from urllib3.exceptions import ConnectTimeoutError, HTTPError

    return ConnectTimeoutError() if is_connect else HTTPError()


def _cause(reply: Reply | None, failure: Any) -> str:
    return f"HTTP {reply.status}" if reply is not None else str(failure.error.code)
