from __future__ import annotations

from relsql.text.row_text import ATTRIBUTE_MARKER, MARKERS, TABLE_MARKER, VALUE_MARKER, Unit, table_of, units


def test_units_cover_names_values_and_nulls() -> None:
    text = "<table>drivers<attribute>forename<value>Anna<attribute>code<value>"
    found = units(text)
    assert [(unit.kind, text[unit.start : unit.end]) for unit in found] == [
        ("table", "drivers"),
        ("attribute", "forename"),
        ("value", "Anna"),
        ("attribute", "code"),
        ("value", ""),
    ]
    assert found[0] == Unit("table", 7, 14)


def test_units_can_be_joined_back_to_the_text() -> None:
    text = "<table>Größe \"x\"<attribute>a b<value>1 > 0, ‹tag>\n'q'<attribute>ü<value>🏁"
    markers = {"table": TABLE_MARKER, "attribute": ATTRIBUTE_MARKER, "value": VALUE_MARKER}
    assert "".join(markers[unit.kind] + text[unit.start : unit.end] for unit in units(text)) == text


def test_text_without_markers_has_no_units() -> None:
    assert units("") == []
    assert units("drivers Anna") == []


def test_text_before_the_first_marker_belongs_to_no_unit() -> None:
    assert units("x<value>y") == [Unit("value", 8, 9)]


def test_table_of_reads_the_table_unit() -> None:
    assert table_of("<table>a b<attribute>c<value>d") == "a b"
    assert table_of("<attribute>c<value>d") == ""


def test_markers_are_distinct() -> None:
    assert len(set(MARKERS)) == 3
