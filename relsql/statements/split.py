"""Find the ends of statements with DuckDB's tokenizer: a `;` in a string, comment or quoted name does not end one."""

from __future__ import annotations

import duckdb


def split_statements(text: str) -> tuple[list[str], str]:
    """Split SQL at each `;` into the complete statements and the rest, which may be blank."""
    # The positions of the tokenizer are bytes.
    encoded = text.encode()
    statements, start = [], 0
    for position, _ in duckdb.tokenize(text):
        if encoded[position : position + 1] == b";":
            statements.append(encoded[start : position + 1].decode().strip())
            start = position + 1
    return [statement for statement in statements if statement != ";"], encoded[start:].decode()


def is_blank(text: str) -> bool:
    """True if there are only spaces and comments; an unfinished comment or string is not blank."""
    if not text.strip():
        return True
    try:
        return not duckdb.extract_statements(text)
    except duckdb.Error:
        return False


def is_complete(text: str) -> bool:
    """True if the text is complete: a dot command, or statements of which the last one ends with `;`."""
    return text.lstrip().startswith(".") or is_blank(split_statements(text)[1])
