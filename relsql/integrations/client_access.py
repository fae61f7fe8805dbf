"""What the server asks about each client: does it know the token, and may this statement run?

DuckDB's quack calls one function for each connection and one for each statement, before it does anything else. Both are
registered here as SQL functions over Arrow arrays. An error in either refuses the client.
"""

from __future__ import annotations

import hmac
import logging
import re
import threading
import time

import duckdb
import pyarrow as pa

from relsql.integrations.statement_check import StatementCheck
from relsql.sql import literal
from udfs.functions import create_arrow_function

LOG = logging.getLogger("relsql.serve")

DELAY_SECONDS = 1.0
MAX_DELAYED = 16
"""How many wrong tokens wait at once; each takes up a thread of the server, which has more than forty of them.

Further wrong ones are refused at once: if they waited too, guesses would keep everybody else from connecting.
"""

_LOG_SECONDS = 10.0
_APPEND = re.compile(r"\s*INSERT\b", re.IGNORECASE)


class _Log:
    """Writes one line in each ten seconds, and how many it left out: whoever is logged must not fill the disk."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left_out = 0
        self._written_at = -_LOG_SECONDS

    def warn(self, text: str) -> None:
        with self._lock:
            if time.monotonic() - self._written_at < _LOG_SECONDS:
                self._left_out += 1
                return
            more, self._left_out, self._written_at = self._left_out, 0, time.monotonic()
        LOG.warning("%s%s", text, f" (and {more} more before)" if more else "")


class Authenticator:
    """Lets in who knows the token, at once; who does not waits, and is written to the log.

    Who knows the token never waits, so that nobody is locked out by the guesses of others.
    """

    def __init__(self, token: str) -> None:
        self._token = token.encode()
        self._delays = threading.BoundedSemaphore(MAX_DELAYED)
        self._log = _Log()

    def __call__(self, session: pa.Array, given: pa.Array, expected: pa.Array) -> pa.Array:
        """One BOOLEAN per token that is given."""
        return pa.array([self.knows(token) for token in given.to_pylist()], pa.bool_())

    def knows(self, given: str | None) -> bool:
        """True if `given` is the token; takes equally long for all wrong ones of a length."""
        if hmac.compare_digest((given or "").encode(), self._token):
            return True
        self._log.warn("a wrong token")
        if self._delays.acquire(blocking=False):
            try:
                time.sleep(DELAY_SECONDS)
            finally:
                self._delays.release()
        return False


class Authorizer:
    """Lets a statement run as it is, puts an error in its place, or refuses it."""

    def __init__(self, check: StatementCheck) -> None:
        self._check = check
        self._log = _Log()

    def __call__(self, session: pa.Array, statements: pa.Array) -> pa.Array:
        """What runs in place of each statement."""
        return pa.array([self.replacement(sql) for sql in statements.to_pylist()], pa.string())

    def replacement(self, sql: str | None) -> str | None:
        """What runs in place of a statement: itself, a query that says why it does not run, or nothing.

        Rows that a client appends are announced by an INSERT, and come if the answer is not NULL, whatever it says.
        """
        refusal = self._check.refusal(sql or "")
        if refusal is None:
            return sql
        self._log.warn(f"refused, because {refusal.found}: {(sql or '')[:200]!r}")
        if _APPEND.match(sql or ""):
            return None
        return f"SELECT error({literal(f'relsql serve refuses this statement: {refusal}')})"


def install_hooks(con: duckdb.DuckDBPyConnection, authenticator: Authenticator, authorizer: Authorizer) -> None:
    """Make quack ask for each connection and each statement from now on."""
    text = "VARCHAR"
    create_arrow_function(con, "relsql_authenticate", authenticator, [text, text, text], "BOOLEAN")
    create_arrow_function(con, "relsql_authorize", authorizer, [text, text], text)
    con.execute("SET GLOBAL quack_authentication_function = 'system.main.relsql_authenticate'")
    con.execute("SET GLOBAL quack_authorization_function = 'system.main.relsql_authorize'")
