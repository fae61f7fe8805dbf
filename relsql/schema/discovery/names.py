"""Interpret the names of columns and tables: the words that they consist of, and whether one refers to the other.

All functions are pure. Names are first split into lower-case singular words, so that `homeTeamId`, `HOME_TEAM_ID`
and `home team id` are equal.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from functools import cache


def word_set(text: str) -> frozenset[str]:
    """The words of a vocabulary, given as one text with spaces."""
    return frozenset(text.split())


STRONG_KEY_WORDS = ("id", "uuid", "guid", "oid", "pk", "key", "sk", "fk", "ref")
WEAK_KEY_WORDS = ("code", "no", "nr", "num", "number", "idx")
KEY_WORDS = STRONG_KEY_WORDS + WEAK_KEY_WORDS
"""Words that mark a column as a key, the most reliable first; the weak ones also occur in names of ordinary numbers."""

_ROW_WORDS = word_set("row rowid rownum rownumber rn index record rec serial unnamed") | {"idx"}
"""Words of a column that only counts the rows of its table."""

PLAIN_WORDS = (
    word_set("name title type status value label description kind class rank comment note text date time")
    | word_set("first last middle full given family display short long phone fax street zip postal gender color")
    | {*KEY_WORDS}
    | _ROW_WORDS
)
"""Words that do not indicate which table a column refers to."""

MEASURE_WORDS = word_set(
    "n count total sum avg mean min max pct percent amount qty quantity rate ratio point score age year month day "
    "price cost length size weight"
)
LATER_WORDS = word_set(
    "updated update modified modification changed change edited loaded load ingested synced refreshed extracted etl "
    "dbt last latest deleted archived closed ended end finish finished to until due planned scheduled expected "
    "estimated eta deadline target expiry expire expired expiration promised required next renewal shipped delivered "
    "returned paid ship receipt commit due limit approved processed completed cancelled canceled resolved"
)
"""Words of dates that lie after the moment at which a row appears."""

PLANNED_WORDS = word_set(
    "due planned scheduled expected estimated eta deadline target expiry expire expired expiration promised required "
    "commit next renewal limit"
)
"""Words of dates that lie ahead, and are set when the row appears."""

INTERVAL_END_WORDS = word_set("to until till thru through end ended expiry expire expired expiration")
"""Words of dates at which a row stops being true; until then it is the current one."""

UPDATE_WORDS = word_set("updated update modified modification changed change edited")
"""Words of dates on which a row was last changed."""

OUTCOME_WORDS = word_set(
    "status state outcome result total balance score churned cancelled returned refund refunded closed final paid"
)
"""Words of columns that are often written after the row appeared."""
_SYNONYMS = tuple(
    map(
        word_set,
        (
            "user customer client member buyer shopper subscriber guest passenger person consumer",
            "subject patient",
            "employee staff worker rep representative agent salesperson seller clerk",
            "product item article sku",
            "order purchase",
            "shop store outlet branch",
            "team club squad",
            "author writer",
            "film movie",
            "company organisation organization firm corporation",
            "supplier vendor",
            "country nation",
            "city town",
            "car vehicle",
            "doctor physician",
            "teacher instructor lecturer professor",
            "student pupil",
            "airline carrier",
        ),
    )
)
"""Words for the same things: a `user_id` is found in a table of customers, a `support_rep_id` in one of employees."""

_OCCASIONS = word_set("order purchase film movie")
LASTING_WORDS = frozenset().union(*_SYNONYMS) - _OCCASIONS | word_set("account player device machine sensor household")
"""Words for people and things that last, unlike orders and visits."""

_AGENT_WORDS = word_set("by via")
"""Words after a verb that name who does it."""

_ROLES = tuple(
    (word_set(roles), word_set(holders))
    for roles, holders in (
        (
            "captain scorer goalkeeper keeper striker batsman bowler pitcher batter substitute winner loser opponent",
            "player athlete",
        ),
        ("home away host guest visitor visiting opponent winner loser", "team club squad franchise"),
        (
            "manager supervisor coach mentor trainer lead head chief director boss referee umpire foreman",
            "staff employee worker person people coach",
        ),
        ("owner assignee assigned creator reporter approver reviewer requester", "user employee staff member person"),
        ("origin orig destination dest departure dep arrival arr", "airport station port stop"),
        ("pickup dropoff", "zone location place station stop"),
    )
)
"""Roles, and the tables that list who has them: a `captain` is found among players, a `manager_id` among the staff."""

_TABLE_PREFIXES = word_set("tbl dim fact fct stg src raw t d f tb source staging base ref lkp lookup vw")
_TABLE_SUFFIXES = word_set("tbl dim fact fct stg raw lkp lookup")
_IRREGULAR = {
    "people": "person",
    "children": "child",
    "men": "man",
    "women": "woman",
    "indices": "index",
    "vertices": "vertex",
    "matrices": "matrix",
    "analyses": "analysis",
    "diagnoses": "diagnosis",
    "shelves": "shelf",
    "series": "series",
    "species": "species",
    **{f"{word}s": word for word in ("movie", "cookie", "calorie", "rookie", "brownie", "smoothie", "hoodie")},
}
_NO_KEYS = word_set("bid grid kid lid paid prepaid unpaid said void valid invalid rapid fluid acid solid hybrid hockey")
"""Words that end like a key but are not one."""


@cache
def words(name: str) -> tuple[str, ...]:
    """Split a name into lower-case singular words: `homeTeamId` -> `home team id`; digits are dropped."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return tuple(_singular(part.lower()) for part in re.findall(r"[^\W\d_]+", spaced))


def _singular(word: str) -> str:
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if re.search(r"(ss|x|z|ch|sh|[^aeo]us)es$", word) and len(word) > 4:
        return word[:-2]
    return word[:-1] if len(word) > 2 and word.endswith("s") and not re.search(r"(ss|us|is)$", word) else word


@cache
def stem(column: str) -> tuple[str, ...]:
    """The words of a column without those that only mark it as a key: `driver_id`, `fk_driver` -> `driver`."""
    parts = list(words(column))
    while parts and parts[-1] in KEY_WORDS:
        parts.pop()
    while parts and parts[0] in STRONG_KEY_WORDS:
        parts.pop(0)
    return tuple(parts)


def named_entity(column: str) -> str:
    """The word for what a column of ids is about: `user` for `user_id` and `userid`; empty if it names none."""
    if not is_key_name(column) or has_weak_suffix(column):
        return ""
    last, named = words(column)[-1], stem(column)
    return named[-1] if named and named[-1] != last else re.sub("(id|key)$", "", last)


@cache
def table_words(table: str) -> tuple[str, ...]:
    """The words of a table without `dim`, `stg` and the like: `dim_customers`, `customer_dim` -> `customer`."""
    parts = words(table)
    parts = parts[1:] if len(parts) > 1 and parts[0] in _TABLE_PREFIXES else parts
    return parts[:-1] if len(parts) > 1 and parts[-1] in _TABLE_SUFFIXES else parts


def is_row_number(column: str) -> bool:
    """True if a column's name says that it numbers the rows of its table: `row_id`, `index`, `Unnamed: 0`."""
    parts = set(words(column))
    # A code is a thing that has rows: `code_row` is a row of `codes`.
    return bool(parts & _ROW_WORDS) and parts <= _ROW_WORDS | {*KEY_WORDS} - {"code"}


def same_words(one: str, other: str) -> bool:
    """True if two columns have one name, however it is spelled: `userid`, `USER_ID`, `UserId`."""
    return "".join(words(one)) == "".join(words(other)) != ""


def without_prefix(columns: Sequence[str]) -> dict[str, str]:
    """Each column's name without the short prefix that all columns of its table share: `l_orderkey` -> `orderkey`."""
    heads = {match.group() if (match := re.match(r"[A-Za-z]{1,3}_(?=.)", name)) else None for name in columns}
    shared = heads.pop() if len(heads) == 1 and len(columns) > 1 else None
    return {name: name.removeprefix(shared or "") for name in columns}


def words_of_tables(names: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The words of each table's name, by key, without a word that all tables begin or end with.

    `olist_orders_dataset`, `olist_sellers_dataset`, .. -> `order`, `seller`, ..; with fewer than three tables nothing
    is removed, because a common word may be a coincidence.
    """
    found = {key: table_words(name) for key, name in names.items()}
    for cut, end in ((slice(1, None), 0), (slice(None, -1), -1)):
        ends = {parts[end] if len(parts) > 1 else None for parts in found.values()}
        if len(found) >= 3 and len(ends) == 1 and None not in ends:
            found = {key: parts[cut] for key, parts in found.items()}
    return found


def is_plural(column: str) -> bool:
    """True if the last word is a plural: `laps` is a count of laps, while `lap` may refer to one."""
    last = re.findall(r"[^\W\d_]+", column)[-1:]
    return bool(last) and not words(column)[-1].endswith(last[0].lower()[-1:])


def is_key_name(column: str) -> bool:
    """True if a word of the column marks it as a key."""
    parts = words(column)
    if not parts or parts[-1] in _NO_KEYS:
        return False
    return parts[-1] in KEY_WORDS or parts[0] in STRONG_KEY_WORDS or parts[-1].endswith(("id", "key"))


def has_weak_suffix(column: str) -> bool:
    """True for names such as `car_number`, which may be a key or just a number."""
    parts = words(column)
    return bool(parts) and parts[-1] in WEAK_KEY_WORDS


def name_match(column: str, target: tuple[str, ...]) -> float:
    """How well a column's name matches `target`, the words of a table or of its key.

    Returns:
        From 0 to 1: 1 for `driver_id` and `drivers`, .9 with a role before it (`home_team_id`, `teams`), .8 where one
        is a part of the other, .75 for abbreviations, .7 for similar spellings.
    """
    mine, theirs = stem(column), "".join(target)
    joined = "".join(mine)
    if not joined or not theirs:
        return 0.0
    without_suffix = _without_key_ending(column)
    if theirs in (joined, without_suffix):
        return 1.0
    if mine[-len(target) :] == target:
        return 0.9
    if target[-len(mine) :] == mine or mine[: len(target)] == target:
        return 0.8
    begins = any(len(text) >= 3 and theirs.startswith(text) for text in (joined, without_suffix))
    if begins or (len(theirs) >= 4 and joined.startswith(theirs)):
        return 0.75
    alike = difflib.SequenceMatcher(None, joined, theirs).ratio() >= 0.85
    return 0.7 if alike and len(joined) >= 5 else 0.0


def _without_key_ending(column: str) -> str:
    """The words of a column joined into one, without a key ending: `driverid`, `driver_id` -> `driver`."""
    return re.sub(f"({'|'.join(KEY_WORDS)})$", "", "".join(words(column)))


def abbreviation_match(column: str, target: tuple[str, ...]) -> float:
    """How well a column abbreviates a table: .75 for `dept_id` and `departments`, .6 for `pid` and `people`; or 0.

    Letters are left out in the middle or at the end. A vowel stays with the letter before it, so `cat` does not
    abbreviate `contract`. The initials of several words count like the letters of one word: `po_id` and
    `purchase_orders`.
    """
    last, long = words(column)[-1:], "".join(target)
    short = "".join(stem(column)) if {*last} & {*KEY_WORDS} else _without_key_ending(column)
    plain = {*last} & {*WEAK_KEY_WORDS} or set(stem(column)) & PLAIN_WORDS
    if not short or not long or plain or not is_key_name(column):
        return 0.0
    if len(short) == 1:
        return 0.6 if long[0] == short else 0.0
    if len(short) == len(target) and short == "".join(word[0] for word in target):
        return 0.75
    pattern = short[0] + "".join(letter if letter in "aeiou" else f".*{letter}" for letter in short[1:])
    return 0.75 if len(short) >= 3 and len(short) < len(long) and re.match(pattern, long) else 0.0


def role_match(column: str, target: tuple[str, ...]) -> float:
    """.85 if a column names a role of what a table holds: `captain`, `home_manager_id`; otherwise 0."""
    mine = stem(column)
    if not mine or not target:
        return 0.0
    return 0.85 if any(mine[-1] in roles and target[-1] in holders for roles, holders in _ROLES) else 0.0


def synonym_match(column: str, target: tuple[str, ...]) -> float:
    """.85 if a column's name and a table's last word mean the same thing, .8 with a role before it; otherwise 0."""
    mine = stem(column)
    if not mine or not target or not any({mine[-1], target[-1]} <= group for group in _SYNONYMS):
        return 0.0
    return 0.85 if len(mine) == len(target) == 1 else 0.8


def agent_match(column: str, target: tuple[str, ...]) -> float:
    """.85 if a column names who does something, and a table those who do it: `ship_via` and `shippers`; otherwise 0."""
    *verb, preposition = stem(column) or ("",)
    if not verb or preposition not in _AGENT_WORDS or not target or not target[-1].endswith(("er", "or")):
        return 0.0
    return 0.85 if _root(verb[-1], "ed|en|e") == _root(target[-1], "er|or") else 0.0


def _root(word: str, endings: str) -> str:
    """What the forms of a verb share: `ship` and `shipped`, `suppli` of `supply` and `supplied`."""
    root = re.sub(rf"({endings}|(?<=[^aeiou])y)$", lambda end: "i" if end[0] == "y" else "", word)
    return re.sub(r"(.)\1$", r"\1", root)
