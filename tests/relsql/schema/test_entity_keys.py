"""The columns of a key in results: they never have the name of another column."""

from __future__ import annotations

import pytest

from relsql.schema.entity_keys import output_names
from relsql.schema.tables import Column, Table


def table(*key: str) -> Table:
    return Table("races", tuple(Column(name, "BIGINT") for name in key), key)


@pytest.mark.parametrize(
    ("key", "names"),
    [
        (("race",), ("race",)),
        (("as_of",), ("races_as_of",)),
        (("AS_OF", "score"), ("races_AS_OF", "races_score")),
        (("as_of", "Races_As_Of"), ("races_as_of_", "Races_As_Of")),
    ],
)
def test_a_key_that_is_named_like_another_column_has_the_name_of_its_table_before_it(
    key: tuple[str, ...], names: tuple[str, ...]
) -> None:
    assert output_names(table(*key), ("score", "as_of")) == names
