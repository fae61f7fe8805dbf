"""docs/cli.md, from the help of every command: `python -m relsql.cli.reference > docs/cli.md`."""

from __future__ import annotations

import click

WIDTH = 100

_INTRODUCTION = """\
# Command line

This page is written by `python -m relsql.cli.reference > docs/cli.md`.

## Rules

- Results go to stdout and nothing else does; progress, notes, questions and errors go to stderr. Results are readable
  by default and exact with `--json`, `--format csv` or `--format json`.
- An error is one line on stderr, `relsql: error: ...`: what is wrong, what was expected, and the command that fixes it.
- The exit code is 0 on success, 1 on an error, 2 on a wrong command line and 130 after Ctrl-C. Ctrl-C leaves the
  database as it was; `relsql train` adds a row about the attempt to `relsql.runs`, `relsql refresh` and
  `relsql score --into` keep what they have done.
- MODEL is the name of a model, which means its active version, or a version of it: `dnf@2`, `dnf@previous` (active
  before) or `dnf@best` (by the validation metric).
- `relsql init`, `relsql train`, `relsql refresh`, `relsql promote`, `relsql drop`, `relsql publish` and
  `relsql unpublish` write to schema `relsql` of FILE, `publish` also macros to schema `main`; `relsql score` writes to
  the table that you name, with `--into` also to schema `relsql`, and `relsql sql` and `relsql shell` write what your
  statements say. All other commands open FILE read-only; so does `relsql serve` without `--read-write`.
- Tables outside schema main are written with it: `staging.orders(id)`. Names with spaces, commas or parentheses stand
  in double quotes: `'"my orders"(id)'`.
- `train`, `evaluate`, `publish` and `selftest` need `pip install 'relsql[train]'`, `import` needs
  `pip install 'relsql[bench]'`, the prompt of `shell` needs `pip install 'relsql[shell]'`, `serve` needs DuckDB's
  extensions httpfs and quack; the other commands need none of them, and `demo` is training.
"""


def reference() -> str:
    """The page as Markdown."""
    from relsql.cli import cli

    parent = click.Context(cli, info_name="relsql", terminal_width=WIDTH, **cli.context_settings)
    parts = [_INTRODUCTION, _section("relsql", cli.get_help(parent))]
    for name, command in cli.commands.items():
        ctx = click.Context(command, info_name=name, parent=parent)
        parts.append(_section(f"relsql {name}", command.get_help(ctx)))
    return "\n".join(parts)


def _section(title: str, text: str) -> str:
    lines = "\n".join(line.rstrip() for line in text.splitlines())
    return f"## {title}\n\n```text\n{lines}\n```\n"


if __name__ == "__main__":
    click.echo(reference(), nl=False)
