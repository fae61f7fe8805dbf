"""Names as users may write them."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from relsql.sql_text import ident

LETTERS = "aAkKiI\u212aéÉİıßẞöÖ"
names = st.text(LETTERS + " .\"'-_1", min_size=1, max_size=6).filter(lambda name: name.strip() == name)
relaxed = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def spelled(draw: st.DrawFn, *parts: str) -> str:
    """A qualified name as a user may write it: any case of ASCII letters, each part quoted or not."""
    written = []
    for part in parts:
        cased = "".join(c.swapcase() if c.isascii() and draw(st.booleans()) else c for c in part)
        plain = not set(part) & set('."')
        written.append(cased if plain and draw(st.booleans()) else ident(cased))
    return ".".join(written)


def anyhow(*parts: str) -> st.SearchStrategy[str]:
    """Ways to write a name of schema main, or one of another schema, with and without schema and database."""
    if len(parts) == 1:
        return st.one_of(
            spelled(*parts), spelled("main", *parts), spelled("shop", *parts), spelled("shop", "main", *parts)
        )
    return st.one_of(spelled(*parts), spelled("shop", *parts))
