"""The version of relsql."""

from __future__ import annotations

__version__ = "0.1.0"
