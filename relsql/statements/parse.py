"""Recognise the statements about models. `relsql.tasks.predict` reads the lines in them, and DuckDB everything else."""

from __future__ import annotations

from itertools import islice

from relsql.errors import TaskError
from relsql.hints import counted
from relsql.statements.syntax import CreateModel, DescribeModel, DropModel, Predict, ShowModels, Statement, Value
from relsql.tasks.predict.parse import parse_line
from relsql.tasks.predict.syntax import AGGREGATES
from relsql.tasks.predict.tokens import RESERVED, Token, line_error, scan, tokens_of

FORMS = {
    "CREATE": "CREATE [OR REPLACE] MODEL [IF NOT EXISTS] name AS PREDICT ... FOR EACH ... [WITH (option = value, ...)]",
    "SHOW": "SHOW MODELS",
    "DESCRIBE": "DESCRIBE MODEL name, or name@version",
    "DROP": "DROP MODEL [IF EXISTS] name, or name@version",
    "PREDICT": "PREDICT ... FOR EACH ... [WITH (option = value, ...)]",
}
"""The statements by their first word, as messages and help show them."""

_BEGINNINGS = (
    ("PREDICT",),
    ("CREATE", "MODEL"),
    ("CREATE", "OR", "REPLACE", "MODEL"),
    ("SHOW", "MODELS"),
    ("DESCRIBE", "MODEL"),
    ("DROP", "MODEL"),
)
KEYWORDS = RESERVED | {"MODEL", "MODELS", "CLASSIFY", "RANK", "FORECAST", "TIMEFRAMES", *AGGREGATES}
"""Words that shells complete and highlight in addition to those of DuckDB."""

_LONGEST_NUMBER = 18
_CONSTANTS: dict[str, Value] = {"TRUE": True, "FALSE": False, "NULL": None}


def is_ours(text: str) -> bool:
    """True if a text begins like a statement about models.

    No DuckDB statement begins in this way, except `SHOW MODELS`. `SHOW "models"` is left to DuckDB and describes a
    table.
    """
    try:
        words = tuple(token.keyword for token in islice(scan(text), max(map(len, _BEGINNINGS))))
    except TaskError:
        return False
    return any(words[: len(beginning)] == beginning for beginning in _BEGINNINGS)


def parse_statement(text: str) -> Statement | None:
    """Read a statement about models, which may end with `;`; None if the text begins otherwise.

    Raises:
        TaskError: the text begins like one but continues differently, or the line in it does not parse.
    """
    return _Statement(text).read() if is_ours(text) else None


class _Statement:
    """Goes through the tokens of a statement once."""

    def __init__(self, text: str) -> None:
        self.text, self.tokens, self.position = text, tokens_of(text), 0
        self.form = FORMS[self.tokens[0].keyword]

    @property
    def token(self) -> Token:
        return self.tokens[self.position]

    def takes(self, *keywords: str) -> bool:
        """True if these are the next words or signs; they are passed over."""
        found = [token.keyword for token in self.tokens[self.position : self.position + len(keywords)]]
        if found != [*keywords]:
            return False
        self.position += len(keywords)
        return True

    def wants(self, *keywords: str) -> None:
        if not self.takes(*keywords):
            raise self.error(f"{' '.join(keywords)} is missing")

    def error(self, problem: str, expected: str | None = None) -> TaskError:
        return line_error(self.text, self.token.at, problem, expected or self.form, "correct the statement")

    def read(self) -> Statement:
        if self.token.keyword == "PREDICT":
            return Predict(*self.question())
        if self.takes("SHOW", "MODELS"):
            self.end()
            return ShowModels()
        if self.takes("DESCRIBE", "MODEL"):
            described = DescribeModel(self.model())
            self.end()
            return described
        if self.takes("DROP", "MODEL"):
            if_exists = self.takes("IF", "EXISTS")
            dropped = DropModel(self.model(), if_exists)
            self.end()
            return dropped
        return self.create()

    def create(self) -> CreateModel:
        self.wants("CREATE")
        replace = self.takes("OR", "REPLACE")
        self.wants("MODEL")
        if_missing = self.takes("IF", "NOT", "EXISTS")
        if replace and if_missing:
            raise self.error("OR REPLACE and IF NOT EXISTS exclude each other")
        name = self.name()
        self.wants("AS")
        line, options = self.question()
        return CreateModel(name, line, options, replace, if_missing)

    def question(self) -> tuple[str, dict[str, Value]]:
        """The line up to WITH or the end of the statement, and the options of WITH."""
        start = self.token
        if start.keyword != "PREDICT":
            raise self.error("PREDICT is missing")
        while not self.at_options() and self.token.kind != "end":
            self.position += 1
        line = self.text[start.at : self.token.at].rstrip()
        parse_line(line)
        return line.removesuffix(";").rstrip(), self.options()

    def at_options(self) -> bool:
        words = [token.keyword for token in self.tokens[self.position : self.position + 2]]
        return words == ["WITH", "("]

    def options(self) -> dict[str, Value]:
        found: dict[str, Value] = {}
        if self.takes("WITH", "("):
            while not found or self.takes(","):
                option = self.name("the name of an option").lower()
                if option in found:
                    raise self.error(f"option {option} is given twice")
                self.wants("=")
                found[option] = self.value()
            self.wants(")")
            self.end()
        return found

    def value(self) -> Value:
        negative = self.takes("-")
        token = self.token
        value: Value
        if token.kind == "number" and len(token.text) <= _LONGEST_NUMBER:
            number = float(token.text) if set(token.text) & set(".eE") else int(token.text)
            value = -number if negative else number
        elif token.kind == "text" and not negative:
            value = token.value
        elif token.keyword in _CONSTANTS and not negative:
            value = _CONSTANTS[token.keyword]
        else:
            raise self.error(f"'{token.text}' is not a value", "a number, a text in single quotes, TRUE, FALSE or NULL")
        self.position += 1
        return value

    def name(self, what: str = "the name of a model") -> str:
        token = self.token
        if token.kind not in ("word", "name"):
            raise self.error(f"{what} is missing")
        self.position += 1
        return token.value

    def model(self) -> str:
        """The name of a model, or of one of its versions: `dnf@2`, `dnf@best`."""
        name = self.name()
        if not self.takes("@"):
            return name
        version = self.token
        if version.kind not in ("word", "number"):
            raise self.error("the version is missing", f"{name}@1, {name}@best or {name}@previous")
        self.position += 1
        return f"{name}@{version.text}"

    def end(self) -> None:
        self.takes(";")
        left = len(self.tokens) - 1 - self.position
        if left:
            raise self.error(f"{counted(left, 'word')} too many, from '{self.token.text}'")
