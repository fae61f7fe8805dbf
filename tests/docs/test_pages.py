"""What the pages show is true of the code: links lead somewhere, commands and code exist."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import duckdb
import pytest

from relsql.cli import cli
from relsql.errors import MissingExtraError, RelsqlError
from relsql.statements.parse import parse_statement
from relsql.statements.split import is_blank, split_statements

ROOT = Path(__file__).parents[2]
ROOT_PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
PAGES = sorted([*(ROOT / name for name in ROOT_PAGES), *(ROOT / "docs").rglob("*.md")])
MAX_README_LINES = 150
DBT_PROJECT = ROOT / "tests" / "dbt_project"
"""docs/dbt.md names files relative to it."""

_FENCE = re.compile(r"^(\s*)(`{3,}|~{3,})\s*(\w*)")
_CODE_SPAN = re.compile(r"(`+)(.+?)\1", re.DOTALL)
_LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_DEFINITION = re.compile(r"^\s*\[[^\]]+\]:\s+<?(\S+?)>?\s*$", re.MULTILINE)
_ROOMS = ("relsql", "udfs", "exporters", "tests", "benchmarks", "docs")
_PATH = re.compile(rf"(?:{'|'.join(_ROOMS)})/[\w./-]*")
_CALL = re.compile(r"relsql\.(?!predict_)[\w.]+\(")
_SHELL_ENDS = re.compile(r"^(?:\d?[<>]|\||&|;)")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the line on which it begins."""

    language: str
    text: str
    line: int


def split(page: str) -> tuple[str, list[Block]]:
    """The prose of a page, with blocks left out, and its blocks.

    Raises:
        ValueError: a block is not closed.
    """
    prose: list[str] = []
    blocks: list[Block] = []
    opened: tuple[str, str, str, int] | None = None
    inside: list[str] = []
    for number, line in enumerate(page.splitlines(), 1):
        fence = _FENCE.match(line)
        if opened and fence and fence[2].startswith(opened[1]) and not fence[3]:
            indent = len(opened[0])
            blocks.append(Block(opened[2], "\n".join(text[indent:] for text in inside) + "\n", opened[3]))
            opened, inside = None, []
        elif opened:
            inside.append(line)
        elif fence:
            opened = (fence[1], fence[2], fence[3], number)
        else:
            prose.append(line)
    if opened:
        raise ValueError(f"the block of line {opened[3]} is not closed")
    return "\n".join(prose), blocks


def code_spans(prose: str) -> list[str]:
    """What stands between backticks, on one line each."""
    return [" ".join(found[2].split()) for found in _CODE_SPAN.finditer(prose)]


def anchors(page: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found: set[str] = set()
    for line in split(page)[0].splitlines():
        if heading := re.match(r"#{1,6}\s+(.*?)\s*#*$", line):
            text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]).replace("`", "").lower()
            anchor = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
            found.add(next(name for n in range(1000) if (name := f"{anchor}-{n}" if n else anchor) not in found))
    return found


def link_problems(page: str, path: Path) -> Iterator[str]:
    """Relative links of a page at `path` that lead nowhere, or out of the site."""
    prose = _CODE_SPAN.sub("", split(page)[0])
    for target in [*_LINK.findall(prose), *_DEFINITION.findall(prose)]:
        if re.match(r"[a-z][a-z+.-]*:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        if name and not file.exists():
            yield f"link {target}: there is no such file"
        elif path.is_relative_to(ROOT / "docs") and not file.is_relative_to(ROOT / "docs"):
            yield f"link {target}: the site ends at docs/; write the path as code"
        elif anchor and anchor not in anchors(page if file == path else file.read_text(encoding="utf-8")):
            yield f"link {target}: there is no such heading"


def path_problems(page: str) -> Iterator[str]:
    """Paths that prose names in code, `tests/x.py` or `tests/x.py::test_y`, and that the repository does not have."""
    for span in code_spans(split(page)[0]):
        name, _, test = span.partition("::")
        if not _PATH.fullmatch(name):
            continue
        file = next((place / name for place in (ROOT, DBT_PROJECT) if (place / name).exists()), None)
        if file is None:
            yield f"`{span}`: there is no such file"
        elif test and not re.search(rf"^\s*def {re.escape(test)}\(", file.read_text(encoding="utf-8"), re.MULTILINE):
            yield f"`{span}`: there is no such test"


def shell_lines(block: Block) -> Iterator[str]:
    """The commands of a block: all lines of `sh`, those after `$ ` of `console`, with what a backslash continues."""
    text = block.text.replace("\\\n", " ")
    for line in text.splitlines():
        if block.language in ("sh", "bash"):
            yield line
        elif block.language == "console" and line.startswith("$ "):
            yield line.removeprefix("$ ")


def arguments(line: str) -> list[str]:
    """The words of a command up to a redirection or another command; what is set before it is left out."""
    words = shlex.split(line, comments=True)
    end = next((n for n, word in enumerate(words) if _SHELL_ENDS.match(word)), len(words))
    start = next((n for n, word in enumerate(words[:end]) if not re.match(r"[A-Z_]+=", word)), end)
    return words[start:end]


def command_problem(line: str) -> str | None:
    """Why the command line does not take `relsql ...`; None if it does, or if this is another program."""
    words = arguments(line)
    if words[:1] != ["relsql"]:
        return None
    try:
        with click.Context(cli, info_name="relsql", **cli.context_settings) as ctx:
            name, command, rest = cli.resolve_command(ctx, words[1:])
            assert command is not None
            parsed = command.make_context(name, list(rest), parent=ctx)
            if name == "sql":
                return sql_problem(parsed.params["statement"])
    except click.ClickException as error:
        return f"{line}: {error.format_message()}"
    return None


def named_option_problems(span: str) -> Iterator[str]:
    """What is wrong with a command in prose, whose arguments may be left out: its name, or an option."""
    words = span.split()
    if words[:1] != ["relsql"] or len(words) == 1 or words[1].startswith("-"):
        return
    command = cli.commands.get(words[1])
    if command is None:
        yield f"`{span}`: there is no command {words[1]}"
        return
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    for word in words[2:]:
        if re.match(r"--?[a-z]", word) and word.split("=")[0] not in known | {"--help", "-h"}:
            yield f"`{span}`: {words[1]} has no option {word}"


def make_problem(command: str) -> str | None:
    """Why `make ...` would not run; None if it would, or if this is another program."""
    words = command.split()
    if words[:1] != ["make"]:
        return None
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = [word for word in arguments(command)[1:] if "=" not in word and not word.startswith("-")]
    return next((f"`{command}`: make has no target {word}" for word in named if word not in targets), None)


def python_problems(code: str) -> Iterator[str]:
    """What Python, and relsql, do not know in a block: syntax, imports of relsql, and calls of its functions."""
    try:
        tree = ast.parse(code)
    except SyntaxError as error:
        yield f"line {error.lineno}: {error.msg}"
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (f"import {name}: {why}" for name in (a.name for a in node.names) if (why := unknown(name)))
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (f"from {node.module} import: {why}" for name in names if (why := unknown(name)))
        elif isinstance(node, ast.Call) and (name := dotted(node.func)).startswith("relsql."):
            yield from call_problems(name, node)


def dotted(node: ast.expr) -> str:
    """`relsql.train` for the expression of that name; empty for another one."""
    if isinstance(node, ast.Attribute) and (start := dotted(node.value)):
        return f"{start}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def found(name: str) -> object:
    """What a dotted name of relsql means.

    Raises:
        ImportError, AttributeError: nothing.
    """
    if name == "relsql":
        return importlib.import_module(name)
    module, _, last = name.rpartition(".")
    owner = found(module)
    return getattr(owner, last) if hasattr(owner, last) else importlib.import_module(name)


def unknown(name: str) -> str | None:
    """Why there is no such name in relsql; None if there is, or if it belongs to somebody else."""
    if name.split(".")[0] != "relsql":
        return None
    try:
        found(name)
    except MissingExtraError:
        # relsql.dbt needs dbt, which has an environment of its own.
        return None
    except (ImportError, AttributeError):
        return f"there is no {name}"
    return None


def call_problems(name: str, call: ast.Call) -> Iterator[str]:
    if why := unknown(name):
        yield f"{name}(...): {why}"
        return
    try:
        called = found(name)
    except MissingExtraError:
        return
    if any(isinstance(argument, ast.Constant) and argument.value is ... for argument in call.args):
        return
    assert callable(called)
    keywords = {keyword.arg: None for keyword in call.keywords if keyword.arg}
    try:
        inspect.signature(called).bind(*call.args, **keywords)
    except TypeError as error:
        yield f"{name}(...): {error}"


def sql_problem(text: str) -> str | None:
    """What the parsers of DuckDB and of relsql say against SQL; templates of dbt become what they would give."""
    text = re.sub(r"\{\{\s*(?:ref|source)\(.*?'(\w+)'\)\s*\}\}", r"\1", text)
    text = re.sub(r"\{\{\s*this\s*\}\}", "this_table", text)
    text = re.sub(r"\{\{.*?\}\}|\{%.*?%\}", "", text, flags=re.DOTALL)
    statements, rest = split_statements(text)
    statements += [] if is_blank(rest) else [rest]
    try:
        with duckdb.connect() as con:
            for statement in statements:
                if parse_statement(statement) is None:
                    con.extract_statements(statement)
    except (duckdb.Error, RelsqlError) as error:
        return str(error).splitlines()[0]
    return None if statements else "there is no statement"


def problems(page: str, path: Path) -> list[str]:
    """All that is wrong with the page at `path`."""
    prose, blocks = split(page)
    spans = code_spans(prose)
    lines = [line for block in blocks for line in shell_lines(block)]
    wrong = [*link_problems(page, path), *path_problems(page)]
    wrong += [why for line in lines if (why := command_problem(line))]
    wrong += [why for span in spans for why in named_option_problems(span)]
    wrong += [why for span in spans if _CALL.match(span) for why in python_problems(span)]
    wrong += [why for command in [*spans, *lines] if (why := make_problem(command))]
    for block in blocks:
        if block.language == "python":
            wrong += [f"block of line {block.line}: {why}" for why in python_problems(block.text)]
        if block.language == "sql" and (why := sql_problem(block.text)):
            wrong.append(f"block of line {block.line}: {why}")
    return wrong


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_page_shows_is_there(path: Path) -> None:
    assert problems(path.read_text(encoding="utf-8"), path) == []


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= MAX_README_LINES


def test_the_pages_show_enough_to_be_worth_checking() -> None:
    blocks = [block for path in PAGES for block in split(path.read_text(encoding="utf-8"))[1]]
    commands = [line for block in blocks for line in shell_lines(block) if line.startswith("relsql ")]
    assert len(commands) > 20 and len({line.split()[1] for line in commands}) > 8
    assert sum(block.language == "python" for block in blocks) >= 3
    assert sum(block.language == "sql" for block in blocks) >= 6


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[x](nowhere.md)", "no such file"),
        ("![x](nowhere.svg)", "no such file"),
        ("[x]: nowhere.md", "no such file"),
        ("[x](cli.md#no-such-heading)", "no such heading"),
        ("# Here\n\n[x](#there)", "no such heading"),
        ("[x](../README.md)", "the site ends at docs/"),
        ("`relsql/no_such_module.py`", "no such file"),
        ("`tests/docs/test_pages.py::test_nothing`", "no such test"),
        ("```console\n$ relsql trian f1.duckdb dnf --name dnf\n```", "No such command"),
        ("```console\n$ relsql train f1.duckdb dnf --name dnf --sede 1\n```", "No such option"),
        ("```console\n$ relsql train f1.duckdb dnf\n```", "Missing option"),
        ("```console\n$ relsql score f1.duckdb\n```", "Missing argument"),
        ("```console\n$ relsql drop f1.duckdb dnf extra\n```", "unexpected extra argument"),
        ("```console\n$ relsql train f1.duckdb dnf --name dnf --epochs few\n```", "not a valid integer"),
        ("```console\n$ relsql sql f1.duckdb \\\n  'SELECT FROM FROM x'\n```", "Parser Error"),
        ("```sh\nX=1 relsql shell f1.duckdb --no-such-option < script.sql\n```", "No such option"),
        ("Run `relsql trian FILE`.", "no command trian"),
        ("Run `relsql score FILE MODEL --onto\nTABLE`.", "no option --onto"),
        ("Run `make dinner`.", "no target dinner"),
        ("```console\n$ make dinner   # soon\n```", "no target dinner"),
        ("```python\nimport relsql\nprint(\n```", "line"),
        ("```python\nfrom relsql import trian\n```", "no relsql.trian"),
        ("```python\nfrom relsql.tasks.task import Tusk\n```", "no relsql.tasks.task.Tusk"),
        ("```python\nimport relsql.tusks\n```", "no relsql.tusks"),
        ("```python\nimport relsql\n\nrelsql.trian(con)\n```", "no relsql.trian"),
        ("```python\nimport relsql\n\nrelsql.train(con, 'dnf', nome='dnf')\n```", "relsql.train"),
        ("Call `relsql.train(con, task, nome='dnf')`.", "relsql.train"),
        ("```sql\nSELEC 1;\n```", "Parser Error"),
        ("```sql\n{{ config(materialized='view') }}\n```", "no statement"),
    ],
)
def test_what_is_not_there_is_noticed(text: str, complaint: str) -> None:
    found = problems(text, ROOT / "docs" / "page.md")
    assert len(found) == 1 and complaint in found[0]


@pytest.mark.parametrize(
    "text",
    [
        "[x](https://duckdb.org) [y](cli.md#relsql-train) `[z](nowhere.md)`",
        "# Numbers, and `as_of`\n\n# Again\n\n# Again\n\n[x](#numbers-and-as_of) [y](#again-1)",
        "```text\n[x](nowhere.md)\n$ relsql nonsense\n```",
        "```console\n$ relsql train f1.duckdb dnf --name dnf 2> train.log\nrelsql nonsense, which is output\n```",
        "```sh\nrelsql models f1.duckdb --json | head   # all of them\n```",
        "`relsql score --into`, `relsql.models`, `relsql --version`, `make fuzz FUZZ_MINUTES=60`",
        "`relsql.Task(...)`, `relsql.drop(con, 'dnf@2')`, `relsql.models`",
        "```python\nimport relsql.dbt\n\nrelsql.dbt.train(dbt, session)\n```",
        "```sql\nselect * from {{ ref('risk') }} where x > (select max(x) from {{ this }})\n```",
    ],
)
def test_what_is_there_is_let_through(text: str) -> None:
    assert problems(text, ROOT / "docs" / "page.md") == []


def test_an_open_block_is_noticed() -> None:
    with pytest.raises(ValueError, match="line 3 is not closed"):
        split("# Page\n\n```sql\nSELECT 1;\n")


def test_hooks_run_what_make_check_runs() -> None:
    yaml = pytest.importorskip("yaml")
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    hooks = [hook["entry"] for repository in config["repos"] for hook in repository["hooks"]]
    [checks] = re.findall(r"^check: ([a-z ]+) ##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert hooks == [f"make {check}" for check in checks.split()]
