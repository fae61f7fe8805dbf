"""What has to hold after a fault, and after the command ran again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.torture.running import Result
from tests.torture.state import Contents, State, alike

_RAW = ("Traceback", "FATAL Error", "INTERNAL Error", "Stack Trace", "terminate called")


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """The effect of a command without a fault: the states before it, after it and after a second run."""

    before: State
    after: State
    after_again: State
    again: Result


def message_problem(result: Result) -> str | None:
    """What is wrong with the message of a command that failed; None if it is one clear line."""
    raw = [word for word in _RAW if word in result.stderr]
    if raw:
        return f"a raw message ({raw[0]}): {_last(result.stderr)}"
    lines = [line for line in result.stderr.splitlines() if line.startswith("relsql: error: ")]
    if len(lines) != 1 or not result.stderr.rstrip().endswith(lines[0].rstrip()):
        return f"{len(lines)} lines of error: {_last(result.stderr)}"
    return None


def after_fault(result: Result, state: State, undisturbed: Undisturbed) -> Iterator[str]:
    """The violated guarantees after a command met a fault.

    The command either succeeded and did everything, or it failed and left a state between before and after: scores are
    those of one of the two, and what is stored step by step is a part of the result.
    """
    if result.timed_out:
        yield "the command hangs"
    elif result.exit_code == 0:
        yield from _differences("it succeeded, but", state, undisturbed.after)
    elif result.exit_code is not None:
        problem = message_problem(result)
        if problem:
            yield problem
    if state.drafts and result.signal is None:
        yield f"drafts are left: {state.drafts}"
    for name, contents in state.databases.items():
        yield from (f"{name}: {problem}" for problem in contents.problems)
    before, after = undisturbed.before, undisturbed.after
    for name in sorted({*before.databases, *after.databases, *state.databases}):
        whole = [found for found in (before.databases.get(name), after.databases.get(name)) if found]
        contents = state.databases.get(name)
        if contents:
            yield from _between(name, contents, whole)
        elif name in before.databases:
            yield f"{name} is gone"
    for name in {*before.files, *after.files, *state.files}:
        if not any(alike(state.files.get(name), known.files.get(name)) for known in (before, after)):
            yield f"{name} is neither as before nor as after"


def _between(name: str, contents: Contents, whole: list[Contents]) -> Iterator[str]:
    if not any(contents.tables == known.tables for known in whole):
        yield f"{name}: the user's tables changed"
    if not any(contents.models == known.models for known in whole) and (contents.models or len(whole) > 1):
        yield f"{name}: the versions are {contents.models}"
    for model, scores in contents.scores.items():
        if not any(alike(scores, known.scores.get(model)) for known in whole):
            yield f"{name}: model {model} has other scores than before and after"
    for version, embeddings in contents.embeddings.items():
        known = {text: row for each in whole for text, row in each.embeddings.get(version, {}).items()}
        if not all(text in known and alike(row, known[text]) for text, row in embeddings.items()):
            yield f"{name}: {version} has other embeddings than before and after"
    for table, rows in contents.score_tables.items():
        tables = [known.score_tables.get(table, {}) for known in whole]
        if not all(any(key in known and alike(row, known[key]) for known in tables) for key, row in rows.items()):
            yield f"{name}: table {table} has other rows than before and after"


def after_second_run(result: Result, state: State, undisturbed: Undisturbed, *, killed: bool) -> Iterator[str]:
    """The violated guarantees after a command met a fault and then ran again without one.

    Everything has to be done then. The second run may find the work already done, as after a run without a fault.
    Temporary files of a killed process may be left, because the process could not remove them.
    """
    if result.exit_code != 0 and _last(result.stderr) != _last(undisturbed.again.stderr):
        yield f"the second run: {result.signal or ''} {_last(result.stderr)}"
    if state.drafts and not killed:
        yield f"drafts are left: {state.drafts}"
    if any(_differences("", state, undisturbed.after_again)):
        yield from _differences("after the second run,", state, undisturbed.after)


def _differences(when: str, state: State, expected: State) -> Iterator[str]:
    if state.databases.keys() != expected.databases.keys():
        yield f"{when} there are the databases {[*state.databases]}, not {[*expected.databases]}"
    for name in state.databases.keys() & expected.databases.keys():
        found, wanted = state.databases[name], expected.databases[name]
        yield from (f"{when} {name}: {problem}" for problem in found.problems)
        for part in ("tables", "score_tables", "models", "embeddings", "scores", "stored"):
            if not alike(getattr(found, part), getattr(wanted, part)):
                yield f"{when} {name} has other {part}{_keys(getattr(found, part), getattr(wanted, part))}"
    if not alike(state.files, expected.files):
        yield f"{when} there are other files: {[*state.files]}, not {[*expected.files]}"


def _keys(found: dict[str, object], wanted: dict[str, object]) -> str:
    differing = [key for key in {*found, *wanted} if not alike(found.get(key), wanted.get(key))]
    return f": {', '.join(sorted(map(str, differing))[:4])}"


def _last(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no message"
