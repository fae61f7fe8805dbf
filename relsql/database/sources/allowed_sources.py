"""Which servers and lakes this user has allowed relsql to connect to: a list in the user's configuration folder.

A database file names its sources, and a file may come from somebody else. Attaching a source that is not a local file
may call a server, and send it a password from the environment. So such a source is attached only on machines where the
user has named it to `relsql init --attach`.
"""

from __future__ import annotations

import os
from pathlib import Path

from relsql.errors import DatabaseError


def list_path() -> Path:
    """The file that lists allowed locations, one per line."""
    folder = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    if not folder.is_absolute():
        folder = Path.home() / ".config"
    return folder / "relsql" / "sources"


def is_allowed(location: str) -> bool:
    """True if the user has allowed this location; `location` must not contain its password."""
    try:
        return location in list_path().read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, UnicodeError) as error:
        raise DatabaseError(
            f"file '{list_path()}' cannot be read: {error}", expected="one location in a line"
        ) from error


def allow(location: str) -> None:
    """Allow a location on this machine; `location` must not contain its password.

    Raises:
        DatabaseError: the list cannot be written.
    """
    if is_allowed(location):
        return
    path = list_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{location}\n")
    except OSError as error:
        raise DatabaseError(
            f"file '{path}' cannot be written: {error.strerror}",
            expected="the list of servers that relsql may connect to",
            fix=f"mkdir -p '{path.parent}', or set XDG_CONFIG_HOME",
        ) from error
