"""Links by the names of columns and the spread of their values.

That the values of a column are found in another column means little for numbers: row numbers from 1 to n are contained
in every longer series of row numbers. So a link needs a name that suggests its parent, and its values then raise or
lower the confidence. Only texts and scattered numbers are evidence by themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from relsql.schema.discovery.keys import FEW_ROWS, UniqueColumn
from relsql.schema.discovery.link_names import link_name_match
from relsql.schema.discovery.names import (
    PLAIN_WORDS,
    has_weak_suffix,
    is_key_name,
    is_row_number,
    name_match,
    role_match,
    same_words,
    stem,
)
from relsql.schema.discovery.profile import Profiler, may_refer
from relsql.schema.discovery.proposals import LinkProposal, Refusal
from relsql.schema.tables import Link, Table
from relsql.schema.types import type_family
from relsql.sql_text import ident

FEW_VALUES = 4
"""With at most this many values, their position among the parent's keys is not evidence; only the share of the keys
that they cover is."""

MAX_CODES = 100
"""Ratings, months, ages and quantities have at most about this many distinct values; a link may have any number."""

MIN_TEXT = 6
"""Texts of fewer letters, such as codes of states, may be the same by chance."""


MIN_NAME = 0.7
"""Names that agree less, such as `pid` and `people`, need values that are all found and cover most of the keys."""

SHORT = 0.75
"""How much a name agrees with one that it abbreviates."""

DOUBTFUL = 0.6
"""The confidence of a link whose column may just as well refer to another parent, or to something else."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A possible link. `tie` decides between equals: the match with the parent's name and key, then the parent's rows.

    `name` is how well the name of the column matches the parent table or its key.
    """

    link: Link
    confidence: float
    evidence: str
    tie: tuple[float, float, int]
    name: float = 1.0

    @property
    def rank(self) -> tuple[float, tuple[float, float, int]]:
        """The value by which the claims of one column are compared."""
        return round(self.confidence, 2), self.tie

    def proposal(self) -> LinkProposal:
        """The claim as a proposal."""
        return LinkProposal(self.link, self.evidence, round(self.confidence, 2))


def named_claims(
    data: Profiler, unique: Mapping[str, list[UniqueColumn]], removed: tuple[Link, ...]
) -> tuple[list[Claim], list[Refusal]]:
    """The most plausible parent of each column that has no link yet, by its name and values, and what was refused.

    Args:
        data: the profiles.
        unique: by table the columns that may be parents.
        removed: links that the user has removed, which are not claimed again.
    """
    taken = {(link.child, link.child_columns) for link in data.schema.links}
    claims, refused = [], []
    for table in data.schema.tables.values():
        for column in table.columns:
            if (table.key, (column.name,)) in taken:
                continue
            links = _named_links(data, unique, table, column.name)
            likely = sorted(links, key=lambda each: _likelihood(data, each[0], each[1]), reverse=True)
            found = [_named_claim(data, *each) for each in likely if not is_among(each[0], removed)]
            named = [each for each in found if isinstance(each, Claim)]
            claims += [_best(data, named)] if named else []
            refused += [] if named else [each for each in found if isinstance(each, Refusal)]
    lost = [claim for claim in claims if _is_reverse(claim, data.schema.links) or _loses_to_reverse(claim, claims)]
    refused += [Refusal.of_link(claim.link, "the link in the other direction is more plausible") for claim in lost]
    return [claim for claim in claims if claim not in lost], refused


def _likelihood(data: Profiler, link: Link, name: float) -> tuple[float, float]:
    """How well the names of a link fit: to table or key, and to the table. A refusal names the most likely parent."""
    plain = data.plain(link.child, link.child_columns[0])
    return name, name_match(plain, data.table_words[link.parent])


def _best(data: Profiler, claims: list[Claim]) -> Claim:
    """The claim of the highest rank; its confidence is lowered if a rival's name fits as well, by an abbreviation."""
    best = max(claims, key=lambda claim: claim.rank)
    rivals = [each for each in claims if each.link.parent != best.link.parent and each.name >= best.name]
    mine = stem(data.plain(best.link.child, best.link.child_columns[0]))
    # A whole word is not an abbreviation: `title` refers to title_basics although `title_crew` fits as well.
    if best.name > SHORT or not rivals or data.table_words[best.link.parent][: len(mine)] == mine:
        return best
    evidence = f"{best.evidence}; {', '.join(each.link.parent for each in rivals)} would fit as well"
    return replace(best, confidence=min(best.confidence, DOUBTFUL), evidence=evidence)


def is_among(link: Link, links: tuple[Link, ...]) -> bool:
    """True if one of `links` joins the same columns."""
    return any(link.same_columns(other) for other in links)


def _is_reverse(claim: Claim, links: tuple[Link, ...]) -> bool:
    """True if a known link goes the other way over the same columns."""
    link = claim.link
    return is_among(
        replace(
            link,
            child=link.parent,
            child_columns=link.parent_columns,
            parent=link.child,
            parent_columns=link.child_columns,
        ),
        links,
    )


def _loses_to_reverse(claim: Claim, claims: list[Claim]) -> bool:
    """True if the opposite link over the same columns is also claimed, with a better `rank` or from more tables."""
    mine = claim.link.child, claim.link.child_columns, claim.link.parent, claim.link.parent_columns
    for other in claims:
        if (other.link.parent, other.link.parent_columns, other.link.child, other.link.child_columns) == mine:
            return _standing(claim, claims) < _standing(other, claims)
    return False


def _standing(claim: Claim, claims: list[Claim]) -> tuple[tuple[float, tuple[float, float, int]], int, str]:
    """The value by which two opposite links over the same columns are compared; more tables refer to the main one."""
    target = claim.link.parent, claim.link.parent_columns
    return claim.rank, sum((each.link.parent, each.link.parent_columns) == target for each in claims), claim.link.parent


def _named_links(
    data: Profiler, unique: Mapping[str, list[UniqueColumn]], child: Table, name: str
) -> Iterator[tuple[Link, float, bool]]:
    """The links that a column's name suggests, how strongly it does, and whether they lead to the parent's best key."""
    profile, plain = data.profiles[child.key][name], data.plain(child.key, name)
    if is_row_number(plain) or not (profile.values or not profile.rows):
        return
    own = name_match(plain, data.table_words[child.key]) if _may_be_own_key(unique, child, name) else None
    for parent in data.schema.tables.values():
        for target in unique.get(parent.key, ()):
            link = Link(child.key, (name,), parent.key, (target.column,), "inferred")
            if parent.key == child.key and (target.column == name or own is not None):
                continue
            table, key = data.table_words[parent.key], data.plain(parent.key, target.column)
            other = max(name_match(plain, table), role_match(plain, table))
            # A unique column is more likely the key of its own table, unless another table's name matches it better.
            # Tables of one name in two schemas are copies.
            if own is not None and (own > other or (own == other and (own > 0 or not same_words(plain, key)))):
                continue
            best = target == unique[parent.key][0]
            score = link_name_match(data, child, name, parent, target, best=best)
            if score:
                yield link, score, best


def _may_be_own_key(unique: Mapping[str, list[UniqueColumn]], child: Table, name: str) -> bool:
    return any(each.column == name for each in unique.get(child.key, ()))


def _named_claim(data: Profiler, link: Link, name: float, best: bool) -> Claim | Refusal:
    """The claim of a link whose name match is `name`, or why it is refused.

    Nearly all values must be found if the match is weak, or if the link leads to a column that is not the `best` key of
    the parent by name.
    """
    if not data.comparable(link):
        return _incomparable(data, link)
    child, parent = data.schema.table(link.child), data.schema.table(link.parent)
    plain = data.plain(link.child, link.child_columns[0])
    tie = name_match(plain, data.table_words[parent.key]), float(best), data.rows(parent)
    if not data.rows(child):
        evidence = f"name match {name:.2f}; '{child.key}' is empty"
        return Claim(link, 0.45 * name, evidence, tie) if name >= 0.9 else Refusal.of_link(link, evidence)
    values, found = data.values_found(link)
    if not values or found / values < (0.5 if name >= 0.9 and best else 0.95):
        return Refusal.of_link(link, f"name match {name:.2f}, but {_found(data, link)}")
    strength = _strength(data, link)
    if name < MIN_NAME and (found < values or strength < 1 or 2 * _keys_used(data, link) < data.rows(parent)):
        return Refusal.of_link(link, f"name match {name:.2f} only, {_found(data, link)}")
    confidence = _confidence(name, strength) * found / values
    confidence *= 1.0 if child.schema_name == parent.schema_name else 0.9
    if _found_by_chance(data, link):
        # A name such as `shop_id` marks a key, even if only a few shops occur; `shop` alone could mean anything.
        if not is_key_name(plain) or has_weak_suffix(plain):
            reason = f"name match {name:.2f}, but so few small numbers are found among all row numbers"
            return Refusal.of_link(link, reason)
        few = min(data.rows(parent), data.rows(child)) <= FEW_ROWS
        many = data.profiles[link.child][link.child_columns[0]].distinct >= FEW_ROWS
        same = many and same_words(plain, data.plain(link.parent, link.parent_columns[0]))
        confidence *= 0.9 if name >= 0.95 and (few or same) else 0.6
    return Claim(link, confidence, f"name match {name:.2f}, {_found(data, link)}", tie, name)


def _incomparable(data: Profiler, link: Link) -> Refusal:
    """Why a link whose name fits is refused: its values cannot be compared. If a cast would help, it is the fix."""
    table, column = data.schema.table(link.child), data.schema.table(link.child).column(link.child_columns[0])
    key = data.schema.table(link.parent).column(link.parent_columns[0])
    if type_family(column.type) == type_family(key.type):
        return Refusal.of_link(link, "the name fits, but the column holds long texts or numbers that are not whole")
    reason = f"the name fits, but '{column.name}' is {column.type} and '{key.name}' is {key.type}"
    if not data.profiles[link.child][column.name].values or not data.found_after_cast(link):
        return Refusal.of_link(link, reason)
    cast = f"TRY_CAST({ident(column.name)} AS {key.type})"
    change = f"ALTER TABLE {table.sql()} ALTER COLUMN {ident(column.name)} TYPE {key.type} USING {cast}"
    return replace(Refusal.of_link(link, f"{reason}; most values are found as {key.type}"), fix=change)


def _confidence(name: float, strength: float) -> float:
    """How sure a link is by its name, and by the strength of its values, both in [0, 1]."""
    return 1 - (1 - name) * (1 - 0.6 * strength) if name >= 0.75 or name < MIN_NAME else name


def _strength(data: Profiler, link: Link) -> float:
    """How strongly found values suggest a link: many texts do, and numbers that are scattered or cover most keys."""
    child, parent = (
        data.profiles[table][columns[0]]
        for table, columns in ((link.child, link.child_columns), (link.parent, link.parent_columns))
    )
    type_ = data.schema.table(link.child).column(link.child_columns[0]).type
    if type_family(type_) in ("text", "UUID"):
        return min(1.0, child.distinct / 10)
    covers = _keys_used(data, link) >= 0.5 * data.rows(data.schema.table(link.parent))
    return min(1.0, child.distinct / 20) if covers or parent.density <= 0.5 else 0.0


def _found_by_chance(data: Profiler, link: Link) -> bool:
    """True for flags, ratings, months and the like, whose values are found in any long series of numbers.

    Finding them is then no evidence for a link. It is evidence if they cover most of the parent's keys, as in a table
    of five statuses, or are scattered among the keys.
    """
    column, key = link.child_columns[0], link.parent_columns[0]
    child, parent = data.profiles[link.child][column], data.profiles[link.parent][key]
    keys = data.rows(data.schema.table(link.parent))
    if type_family(data.schema.table(link.child).column(column).type) in ("text", "UUID"):
        # A flag may also be stored as text.
        return keys > 2 and child.distinct <= 2 and data.are_flags(link.child, column)
    if child.low in ("0", "1") and child.high in ("0", "1"):
        return keys > 2
    if _keys_used(data, link) >= 0.5 * keys or child.distinct > MAX_CODES or keys <= FEW_ROWS:
        return False
    if child.distinct <= FEW_VALUES:
        return keys > FEW_VALUES * child.distinct
    return child.density >= 0.8 and child.width < 0.5 * parent.width


def _keys_used(data: Profiler, link: Link) -> float:
    """The approximate number of the parent's keys that the child uses, from the sample of values that was looked up."""
    values, found = data.values_found(link)
    return data.profiles[link.child][link.child_columns[0]].distinct * found / max(1, values)


def unnamed_claims(
    data: Profiler, unique: Mapping[str, list[UniqueColumn]], removed: tuple[Link, ...]
) -> tuple[list[Claim], list[Refusal]]:
    """Links that only the values support: no name suggests a parent, and the values are found in one key alone.

    Texts are not found elsewhere by chance. Small integers are found in every longer column of row numbers: they are
    evidence only where the parent's keys leave wide gaps, which unrelated numbers would hit.
    """
    linked = {(link.child, name) for link in data.schema.links for name in link.child_columns}
    claims, refused = [], []
    for table in data.schema.tables.values():
        for column in table.columns:
            if (table.key, column.name) in linked or (column.name,) == table.primary_key:
                continue
            links = _possible_links(data, unique, table, column.name)
            every = [claim for link in links if not is_among(link, removed) and (claim := _unnamed_claim(data, link))]
            found = [claim for claim in every if not _refers_to_another(data, claim, every)]
            claims += found if len(found) == 1 else []
            if len(found) != 1 and is_key_name(column.name) and stem(column.name) and not is_row_number(column.name):
                refused.append(_unlinked(data, table, column.name, found))
    return claims, refused


def _refers_to_another(data: Profiler, claim: Claim, claims: list[Claim]) -> bool:
    """True if the key of a claim's parent is itself a link to the key of another: ratings have the ids of titles."""
    ends = {(each.link.parent, each.link.parent_columns) for each in claims}
    own = claim.link.parent, claim.link.parent_columns
    return any(
        (link.child, link.child_columns) == own and (link.parent, link.parent_columns) in ends
        for link in data.schema.links
    )


def _unlinked(data: Profiler, table: Table, column: str, found: list[Claim]) -> Refusal:
    """Why a column with the name of a key has no link."""
    reason = "no table has a key of such a name, and its values match no key clearly"
    if found:
        reason = f"its values are found in {', '.join(claim.link.parent for claim in found)} alike"
    elif data.rows(table) and not data.profiles[table.key][column].values:
        reason = "it is NULL in all rows"
    return Refusal("link", table.key, (column,), reason)


def _possible_links(
    data: Profiler, unique: Mapping[str, list[UniqueColumn]], child: Table, name: str
) -> Iterator[Link]:
    """The links of a column to the key of every other table, or to what may be its key, if it is a single column."""
    column = child.column(name)
    if may_refer(column.type, data.profiles[child.key][name]):
        for parent in data.schema.tables.values():
            best = tuple(each.column for each in unique[parent.key][:1])
            key = parent.primary_key or best
            # If a user lists the columns that hold an entity, the other columns of those tables do not hold it:
            # `country` is not a team.
            listed = any(values.table.key == child.key for values in parent.values_of)
            if len(key) == 1 and parent.key != child.key and not listed:
                link = Link(child.key, (name,), parent.key, key, "inferred")
                if data.comparable(link):
                    yield link


def _unnamed_claim(data: Profiler, link: Link) -> Claim | None:
    column, key = link.child_columns[0], link.parent_columns[0]
    profile, keys = data.profiles[link.child][column], data.profiles[link.parent][key]
    is_text = type_family(data.schema.table(link.child).column(column).type) in ("text", "UUID")
    named = is_key_name(column) and bool(stem(column)) and not has_weak_suffix(column)
    # Texts need no name of a key: `batsman` refers to a table whose key is the name of a player.
    if profile.distinct < FEW_ROWS or set(stem(column)) <= PLAIN_WORDS or not (named or is_text):
        return None
    if keys.density > 0.5 or profile.values == profile.distinct == profile.rows:
        return None
    values, found = data.values_found(link)
    if found < (0.98 if named else 1.0) * values:
        return None
    confidence = (0.9 if named else 0.8) if is_text and profile.length >= MIN_TEXT else 0.5
    evidence = f"no name match, but {_found(data, link)} and in no other key"
    roles = [each.child_columns[0] for each in data.schema.links if _same_tables(each, link)]
    if roles and not named:
        # Beside home_team and away_team, a country of the same spelling is a place, not a team.
        evidence += f"; {', '.join(roles)} already {'links' if len(roles) == 1 else 'link'} there by name"
        confidence = min(confidence, DOUBTFUL)
    return Claim(link, confidence, evidence, (0.0, 0.0, 0))


def _same_tables(one: Link, other: Link) -> bool:
    return (one.child, one.parent) == (other.child, other.parent)


def _found(data: Profiler, link: Link) -> str:
    values, found = data.values_found(link)
    share = "100" if found == values else f"{100 * found / max(1, values):.1f}"
    profile = data.profiles[link.child][link.child_columns[0]]
    per_key = profile.values / max(1, profile.distinct)
    text = f"{share} % of {values:,} distinct values found in {link.parent}.{', '.join(link.parent_columns)}"
    text += (
        ", about one row per key" if per_key < 1.2 else f", about {per_key:.{1 if per_key < 2 else 0}f} rows per key"
    )
    used = _keys_used(data, link) / max(1, data.rows(data.schema.table(link.parent)))
    text += f", {min(1.0, used):.0%} of the keys used" if used < 0.5 else ""
    return text + ("" if profile.complete else f", {profile.rows - profile.values:,} rows NULL")
