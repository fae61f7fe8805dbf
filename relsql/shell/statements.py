"""Where statements end, as DuckDB's own tokenizer sees it: a `;` in a text, a comment or a quoted name ends nothing."""

from __future__ import annotations

import duckdb


def split_statements(text: str) -> tuple[list[str], str]:
    """Split SQL at its `;` into the statements that are complete and the rest, which may be blank."""
    # The tokenizer counts bytes.
    encoded = text.encode()
    statements, start = [], 0
    for position, _ in duckdb.tokenize(text):
        if encoded[position : position + 1] == b";":
            statements.append(encoded[start : position + 1].decode().strip())
            start = position + 1
    return [statement for statement in statements if statement != ";"], encoded[start:].decode()


def is_blank(text: str) -> bool:
    """True if nothing but spaces and comments is left to run; a comment or text that is still open is not blank."""
    if not text.strip():
        return True
    try:
        return not duckdb.extract_statements(text)
    except duckdb.Error:
        return False


def is_complete(text: str) -> bool:
    """True if the text can run as it is: a dot command, or statements of which the last one ends with `;`."""
    return text.lstrip().startswith(".") or is_blank(split_statements(text)[1])
