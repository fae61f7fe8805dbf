"""What a message says about a field of a task: where to correct it, and where the field is documented."""

from __future__ import annotations

FIELDS_PAGE = "docs/tasks.md"
"""The page of the task's fields; each field has a heading of its name, and so an anchor."""


def correct(*fields: str) -> str:
    """The fix of a message that is about one field or several: `correct sql in the task manifest (docs/tasks.md#sql)`.

    The link goes to the first field.
    """
    return in_manifest(f"correct {' or '.join(fields)}", fields[0])


def in_manifest(doing: str, field: str) -> str:
    """The fix of a message, something to do to the task manifest, with a link to the field that it is about."""
    return f"{doing} in the task manifest ({see(field)})"


def see(field: str) -> str:
    """Where a field is documented: `docs/tasks.md#sql`."""
    return f"{FIELDS_PAGE}#{field}"
