"""`python -m relsql` is `relsql`."""

from __future__ import annotations

from relsql.cli import main

if __name__ == "__main__":
    main()
