"""The server's checks of each client: is the token right, and may this statement run?

DuckDB's quack extension first calls one function for each connection and one for each statement. Both are registered
here as SQL functions over Arrow arrays. If one of them raises an error, the client is refused.
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
from relsql.sql_text import literal
from udfs.functions import create_arrow_function

LOG = logging.getLogger("relsql.serve")

DELAY_SECONDS = 1.0
MAX_DELAYED = 16
"""Maximum number of wrong tokens that are delayed at the same time.

Each delay blocks one of the server's threads, of which there are more than forty. Further wrong tokens are refused
without a delay, because otherwise guesses could keep all other clients from connecting.
"""

_LOG_SECONDS = 10.0
_APPEND = re.compile(r"\s*INSERT\b", re.IGNORECASE)


class _Log:
    """Writes at most one line per ten seconds and counts the others, so that a client cannot fill the disk."""

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
    """Accepts the right token at once; a wrong token is logged and refused after a delay.

    The right token is never delayed, so that clients are not locked out by the guesses of others.
    """

    def __init__(self, token: str) -> None:
        self._token = token.encode()
        self._delays = threading.BoundedSemaphore(MAX_DELAYED)
        self._log = _Log()

    def __call__(self, session: pa.Array, given: pa.Array, expected: pa.Array) -> pa.Array:
        """One BOOLEAN per given token."""
        return pa.array([self.knows(token) for token in given.to_pylist()], pa.bool_())

    def knows(self, given: str | None) -> bool:
        """True if `given` is the token; all wrong tokens of the same length take the same time."""
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
    """Lets a statement run unchanged, replaces it with an error, or refuses it."""

    def __init__(self, check: StatementCheck) -> None:
        self._check = check
        self._log = _Log()

    def __call__(self, session: pa.Array, statements: pa.Array) -> pa.Array:
        """The statement to run instead of each given statement."""
        return pa.array([self.replacement(sql) for sql in statements.to_pylist()], pa.string())

    def replacement(self, sql: str | None) -> str | None:
        """The statement to run instead of `sql`: `sql` itself, a query that raises an error with the reason, or None.

        A client that appends rows announces them with an INSERT, and sends them unless the answer is NULL. A refused
        INSERT therefore gets None instead of an error query.
        """
        refusal = self._check.refusal(sql or "")
        if refusal is None:
            return sql
        self._log.warn(f"refused, because {refusal.found}: {(sql or '')[:200]!r}")
        if _APPEND.match(sql or ""):
            return None
        return f"SELECT error({literal(f'relsql serve refuses this statement: {refusal}')})"


def install_hooks(con: duckdb.DuckDBPyConnection, authenticator: Authenticator, authorizer: Authorizer) -> None:
    """Make quack call the authenticator for each new connection and the authorizer for each statement."""
    text = "VARCHAR"
    create_arrow_function(con, "relsql_authenticate", authenticator, [text, text, text], "BOOLEAN")
    create_arrow_function(con, "relsql_authorize", authorizer, [text, text], text)
    con.execute("SET GLOBAL quack_authentication_function = 'system.main.relsql_authenticate'")
    con.execute("SET GLOBAL quack_authorization_function = 'system.main.relsql_authorize'")
