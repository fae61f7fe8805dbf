"""Statements that clients send: those that must not run, and those that must."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent / "fixtures" / "serving"


def attacks() -> list[str]:
    """Statements that would change what others see, reach files, or stop the server."""
    return _statements("attacks.sql")


def queries() -> list[str]:
    """Statements over the shop (`tests/shop.py`) that only read, and call its model `churn`."""
    return _statements("queries.sql")


def _statements(name: str) -> list[str]:
    lines = (_FOLDER / name).read_text().splitlines()
    return [line for line in lines if line and not line.startswith("--")]
