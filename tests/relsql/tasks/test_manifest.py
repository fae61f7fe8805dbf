"""Malformed and hostile manifests: each one is refused at once, with a message on one line."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relsql.errors import TaskError
from relsql.tasks.manifest import MAX_BYTES, read_manifest

NINE = ", ".join(["*{}"] * 9)
BOMB = "a: &a [x]\n" + "".join(
    f"{b}: &{b} [{NINE.replace('{}', a)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)

REFUSED = {
    "nested lists": ("[" * 100_000, "more than 16 levels"),
    "nested mappings": ("".join(f"{' ' * i}a:\n" for i in range(1000)), "more than 16 levels"),
    "nested, in one field": (f"name: {'[' * 1000}{']' * 1000}", "more than 16 levels"),
    "bomb": (BOMB, r"line 2: a manifest must not contain the alias '\*a'"),
    "recursive": ("a: &a [*a]", "alias"),
    "merge": ("a: &a {b: c}\nd:\n  <<: *a", "alias"),
    "key twice": ("name: a\nsql: b\nname: c", "line 3: a manifest must not contain the key 'name' twice"),
    "key twice, deeper": ("a: {b: 1, b: 2}", "the key 'b' twice"),
    "huge number as key": (f"? 0x{'f' * 9000}\n: a", "a key of type int"),
    "number as key": ("1: a", "a key of type int"),
    "NULL as key": ("~: a", "a key of type NoneType"),
    "list as key": ("? [a]\n: b", "unhashable"),
    "python object": ("name: !!python/object/apply:os.system [ls]", "tag"),
    "tag of a wrong value": ("name: !!int lots", "tag"),
    "no such date": ("a: 2010-13-45", "month must be in"),
    "no such zone": ("a: 2010-01-01 00:00:00+99:00", "offset must be"),
    "number without digits": ("a: 0b_", "invalid literal"),
    "endless number": (f"a: {'9' * 5000}", "integer string"),
    "number in base 60": (f"a: 1{':00' * 400}.5", "too large"),
    "two documents": ("a: b\n---\nc: d", "but found another document"),
    "tab": ("a:\n\t- b", "line 2"),
    "text": ("hello", "is not a mapping"),
    "empty": ("", "is empty"),
    "list": ("- a", "is empty"),
    "NUL": ("a: \0", "not allowed"),
    "too large": (f"a: {'x' * MAX_BYTES}", "too large"),
}


def refused(path: Path, message: str) -> None:
    started = time.perf_counter()
    with pytest.raises(TaskError, match=message) as caught:
        read_manifest(path)
    assert time.perf_counter() - started < 5
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert caught.value.expected and caught.value.fix


@pytest.mark.parametrize("name", REFUSED)
def test_hostile_text(tmp_path: Path, name: str) -> None:
    text, message = REFUSED[name]
    path = tmp_path / "task.yaml"
    path.write_text(text, encoding="utf-8")
    refused(path, message)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"name: \xfc", "is not UTF-8: byte 6 is 0xfc"), (b"\xff\xfe\0\0", "is not UTF-8"), (b"PAR1\x15\x04", "#x0015")],
)
def test_bytes_that_are_no_text(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "task.yaml"
    path.write_bytes(content)
    refused(path, message)


def test_things_that_are_no_file(tmp_path: Path) -> None:
    refused(tmp_path, "not a regular file")
    os.mkfifo(tmp_path / "pipe.yaml")
    refused(tmp_path / "pipe.yaml", "not a regular file")
    refused(tmp_path / "none.yaml", "cannot be read: No such file")
    refused(tmp_path / ("x" * 300), "cannot be read: File name too long")
    (tmp_path / "loop.yaml").symlink_to(tmp_path / "loop.yaml")
    refused(tmp_path / "loop.yaml", "cannot be read: Too many levels")
    with pytest.raises(TaskError, match=r"cannot be read: embedded null byte. Expected: .* Fix: "):
        read_manifest(Path("a\0b"))


def test_scalars_may_be_repeated_and_a_byte_order_mark_is_no_content(tmp_path: Path) -> None:
    path = tmp_path / "task.yaml"
    path.write_text("\ufeffval: &day 2010-01-01\ntest: *day\nrest: [a, {b: [c]}]\n", encoding="utf-8")
    found = read_manifest(path)
    assert list(found) == ["val", "test", "rest"] and found["val"] == found["test"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(st.binary(max_size=60), st.text(alphabet="a:-[]{}&*!|>'\"#%@,?~01.\n \t<", max_size=40).map(str.encode))
)
def test_any_bytes_are_fields_or_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "task.yaml"
    path.write_bytes(content)
    try:
        keys, message = list(read_manifest(path)), ""
    except TaskError as error:
        keys, message = [], str(error)
    assert all(isinstance(key, str) for key in keys) and "\n" not in message


def test_a_manifest_that_is_not_there_says_what_was_expected(tmp_path: Path) -> None:
    expected = (
        r"nope.yaml' cannot be read: .*Expected: a YAML file that can be read. Fix: give the path of a task manifest"
    )
    with pytest.raises(TaskError, match=expected):
        read_manifest(tmp_path / "nope.yaml")
