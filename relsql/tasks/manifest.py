"""Read the YAML of a task manifest.

A manifest may come from somebody else, so its text is not trusted. Whatever no manifest needs is refused before it uses
resources: a large file, deep nesting, aliases that repeat whole lists, tags, and duplicate keys.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import yaml

from relsql.errors import TaskError
from relsql.hints import FIELDS_PAGE

MAX_BYTES = 1_000_000
MAX_DEPTH = 16
"""Nesting depth of lists and mappings; a RelBench manifest has two levels."""

_FORM = "the fields of a RelBench 3 task manifest"
_FIX = f"correct the file; {FIELDS_PAGE} describes its fields"
_FILE = "a YAML file that can be read"
_GIVE_PATH = "give the path of a task manifest, manifest.yaml"


def read_manifest(path: Path) -> dict[str, object]:
    """Read the fields of a manifest file. Their types are not checked.

    Args:
        path: a regular file in UTF-8, of at most `MAX_BYTES`.

    Raises:
        TaskError: the file cannot be read, is not YAML, or does not hold a mapping with text as keys.
    """
    fields = _parse(path, _read_text(path))
    if fields is None or not isinstance(fields, dict):
        raise TaskError(
            f"task manifest '{path}' is {'empty' if not fields or isinstance(fields, list) else 'not a mapping'}",
            expected=_FORM,
            fix=_FIX,
        )
    for key in fields:
        if not isinstance(key, str):
            raise TaskError(f"task manifest '{path}' has a key of type {type(key).__name__}", expected=_FORM, fix=_FIX)
    return fields


def _read_text(path: Path) -> str:
    try:
        # Reading from a pipe or a device might never end.
        if not stat.S_ISREG(path.stat().st_mode):
            raise TaskError(f"task manifest '{path}' is not a regular file", expected=_FILE, fix=_GIVE_PATH)
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        problem = f"task manifest '{path}' cannot be read: {error.strerror}"
        raise TaskError(problem, expected=_FILE, fix=_GIVE_PATH) from error
    except ValueError as error:  # The path contains a NUL or a lone surrogate.
        problem = f"task manifest {str(path)!r} cannot be read: {error}"
        raise TaskError(problem, expected=_FILE, fix=_GIVE_PATH) from error
    if len(content) > MAX_BYTES:
        problem = f"task manifest '{path}' is too large"
        raise TaskError(problem, expected=f"at most {MAX_BYTES:,} bytes", fix=_FIX)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TaskError(
            f"task manifest '{path}' is not UTF-8: byte {error.start} is 0x{content[error.start]:02x}",
            expected="text in UTF-8",
            fix="save the file as UTF-8",
        ) from error


def _parse(path: Path, text: str) -> object:
    loader = None
    try:
        loader = _Loader(text)
        return loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        problem = f"{where}{error.problem or error.context}"
        raise _not_yaml(path, problem) from error
    # PyYAML's conversions raise Python's own errors: for the date 2010-13-45, or a base 60 number beyond floats.
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise _not_yaml(path, str(error).splitlines()[0]) from error
    finally:
        if loader is not None:
            loader.dispose()


def _not_yaml(path: Path, problem: str) -> TaskError:
    return TaskError(f"task manifest '{path}' is not valid YAML: {problem}", expected=f"{_FORM}, in YAML", fix=_FIX)


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no types.
    """PyYAML's safe loader without the features that make reading costly or ambiguous."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: object) -> yaml.Node | None:
        event = self.peek_event()
        if getattr(event, "tag", None) not in (None, "!"):
            raise _refusal(f"tag '{event.tag}'", event.start_mark)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _refusal(f"more than {MAX_DEPTH} levels", event.start_mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        # With aliases of lists nested in each other, a short text expands to an enormous amount of data.
        if isinstance(event, yaml.AliasEvent) and not isinstance(node, yaml.ScalarNode):
            raise _refusal(f"the alias '*{event.anchor}' of a list or mapping", event.start_mark)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise _refusal(f"the key '{key.value}' twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _refusal(what: str, mark: yaml.Mark) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=f"a manifest must not contain {what}", problem_mark=mark)
