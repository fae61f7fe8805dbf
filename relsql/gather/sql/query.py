"""The gather query: for each seed (entity, as_of) the last k rows of every path, as lists that the network reads.

Training, evaluation and scoring all run the query built here; only the `seed` CTE differs.
`relsql.gather.sql.latest_rows` decides which rows they are.

Result: one row per seed, with `_entity`, `_as_of`, and for each path a list of STRUCT(rank, n0, n1, ..., c0, c1, ...)
in any order: recency rank (1 = latest), FLOAT numbers, INTEGER codes. A list is NULL when there are no rows; all lists
are NULL when the entity does not exist or is not visible. A path that can have several rows also has a column
`<path>__counts`, a STRUCT(w0, w1, ...): how many rows are visible in total, and how many within each of the path's
`count_days`. For a hub, scoring requests the message computed from its rows instead of the rows, so that the network
reads each hub once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from relsql.gather.layout import DATA_AGE, Segment, counts_name, segments
from relsql.gather.node_inputs import NodeInputs, NumberInput, category_sql, number_sql, text_sql
from relsql.gather.paths import Path
from relsql.gather.row_plan import RowPlan
from relsql.gather.sql.latest_rows import AS_OF, SEED, LatestRows, SeedKind
from relsql.gather.sql.lookups import pointed_name, readers_of, seen_join_sql, seen_sql
from relsql.gather.sql.newest import NEWEST
from relsql.gather.sql.path_columns import Latest, of_hubs
from relsql.gather.sql.precomputed import all_hubs_ctes, newest_query
from relsql.gather.sql.ranking import Ctes, columns_of, counts_sql
from relsql.gather.sql.removals.conditions import OUT_COLUMN, shown_value_sql
from relsql.gather.sql.removals.messages import left_message_ctes
from relsql.schema.indexes import Indexed
from relsql.schema.tables import Link, Table
from relsql.schema.times.events import age_sql, as_timestamp_sql, time_sql
from relsql.schema.visibility import and_visible_sql, visible_time_sql
from relsql.sql_text import COMMA, Cte, ident, indented, with_ctes

OF_SEEDS = "The rows of each seed, as the network reads them."

TEXT_OF_CODES = -1
"""Used instead of a text's number when the row's category codes determine the text."""


@dataclass(frozen=True, slots=True)
class Gather:
    """Builds the gather query of one model.

    Attributes:
        rows: which rows are read.
        text_function: name of the function VARCHAR -> INTEGER that numbers row texts.
        coded_texts: if True, a row whose category codes determine its text has `TEXT_OF_CODES` as the text's number.
        message_functions: by shared path, the name of a function STRUCT(hub, rows, counts) -> message. The path's
            column is then the message of the seed's hub, not the hub's rows. `hub` identifies the hub and the moment.
    """

    rows: LatestRows
    text_function: str
    coded_texts: bool = field(default=False, kw_only=True)
    message_functions: Mapping[str, str] = field(default_factory=dict, kw_only=True)

    @property
    def plan(self) -> RowPlan:
        """The plan of rows to read."""
        return self.rows.plan

    def for_seeds(self, seed_kind: SeedKind, *, indexed: Indexed = frozenset(), delayed: bool = False) -> Gather:
        """The same gather for another kind of seeds, see `LatestRows`."""
        return replace(self, rows=replace(self.rows, seed_kind=seed_kind, indexed=indexed, delayed=delayed))

    def query(self, seed_sql: str, select: str | None = None) -> str:
        """The whole query, see `LatestRows.query`."""
        return self.rows.query(self, seed_sql, select)

    def given_queries(self, moment_sql: str) -> dict[str, str]:
        """The queries for all that seeds share, by the name under which `with_given` takes their results.

        That of a shared path has a row for each of its hubs that may be seen: hub0, hub1, ... (the columns that rows
        point at), the moments, and the path's columns, which are its message where `message_functions` has the path.
        That of `NEWEST` has the moments, and the time `t` of the newest event.

        Args:
            moment_sql: a query for the moments at which seeds ask, each once: `_as_of`, and `_until` when delayed.
        """
        queries = {}
        for path in self.plan.paths:
            if path.shared:
                ctes, latest = all_hubs_ctes(self.rows, path, moment_sql)
                ctes += [*self.common_ctes({path.name: latest}), self._hubs_cte(path, latest)]
                queries[of_hubs(path)] = with_ctes(ctes, f"SELECT *\nFROM {of_hubs(path)}")
        if self.plan.paths[0].data_age:
            queries[NEWEST] = newest_query(self.rows, moment_sql)
        return queries

    def with_given(self, given: Mapping[str, str]) -> Gather:
        """The same gather, which reads what seeds share from these relations, see `LatestRows.given`."""
        return replace(self, rows=replace(self.rows, given=given))

    def qualified_columns(self) -> dict[str, str]:
        """The gathered columns as expressions within `query`'s select list."""
        return {name: f"{ident(path.name)}.{ident(name)}" for path in self.plan.paths for name in self.names(path)}

    def names(self, path: Path) -> list[str]:
        """Names of the path's columns: its list and, for a path with several rows, its counts; or its message."""
        with_counts = path.counted and path.name not in self.message_functions
        return [path.name, counts_name(path.name)] if with_counts else [path.name]

    def ctes_of(self, path: Path, latest: Latest) -> Ctes:
        """CTEs for a path; the last one has the path's name and holds its columns for every seed."""
        if not path.counted:
            return [Cte(ident(path.name), self._single_sql(path), OF_SEEDS)]
        if latest.hub is None:
            listed = self._listed_sql(path, latest.ranked) if latest.ranked else self._rows_sql(path, latest)
            return [Cte(ident(path.name), listed, OF_SEEDS)]
        rows = of_hubs(path)
        spread = Cte(ident(path.name), self.rows.spread_sql(self.names(path), *latest.hub, rows), OF_SEEDS)
        if latest.ordered and not self.needs_left(path):
            return [*self._left_ctes(path, latest), spread]
        return [self._hubs_cte(path, latest) if latest.rows else self.rows.given_cte(rows), spread]

    def _hubs_cte(self, path: Path, latest: Latest) -> Cte:
        """The CTE with a shared path's columns for each hub."""
        comment = "What the network reads of each hub's rows, with counts."
        return Cte(of_hubs(path), self._rows_sql(path, latest), comment)

    def single_ctes(self, path: Path, latest: str) -> Ctes:
        """No CTEs: `_single_sql` reads the row directly."""
        return []

    def _single_sql(self, path: Path) -> str:
        """The one row of each seed as a list, with the rows that it points at."""
        struct = self._row_struct(path, "r", "1", "self")
        return (
            f"SELECT self.{SEED}, list({struct}) AS {ident(path.name)}\n"
            f"{self.rows.single_from(path)}\n"
            f"{self.rows.newest_join(path, 'self')}{self._lookup_joins(path, 'r', 'self')}"
            f"GROUP BY self.{SEED}"
        )

    def _listed_sql(self, path: Path, ranked: str) -> str:
        """The list of each seed's last k rows with the rows that they point at, and counts of all its rows."""
        latest = f"{ranked}.rank <= {path.fanout}"
        struct = self._row_struct(path, f"{ranked}.r", f"{ranked}.rank", ranked)
        counts = counts_sql(path, self.plan.table(path.table), f"{ranked}.r", f"{ranked}.{AS_OF}")
        # With FILTER alone, DuckDB would still build the struct of every row, hence the CASE. The HAVING is true for
        # every group; it only makes DuckDB estimate fewer lists than seeds. DuckDB then drives scoring by the scan of
        # the seeds, in batches of 2,048 on all threads, and not by the output of this aggregate, which comes in
        # smaller batches and sometimes on one thread. In a call the seeds come from an aggregate too, in batches of
        # any size; there the lists are the better source.
        having = "" if self.rows.seed_kind == "call" else "\nHAVING count(*) > 0"
        return (
            f"SELECT {ranked}.{SEED},\n"
            f"    list(CASE WHEN {latest} THEN {struct} END) FILTER (WHERE {latest}) AS {ident(path.name)},\n"
            f"    {counts} AS {ident(counts_name(path.name))}\n"
            f"FROM {ranked}\n"
            f"{self._lookup_joins(path, f'{ranked}.r', ranked)}"
            f"GROUP BY {ranked}.{SEED}{having}"
        )

    def _rows_sql(self, path: Path, latest: Latest) -> str:
        """The list of each group's rows with the rows they point at, and its counts; or the message made of both."""
        rows, counted, group = latest.rows, latest.counted, latest.group
        struct = self._row_struct(path, f"{rows}.r", f"{rows}.rank", rows)
        listed = (
            f"SELECT {columns_of(rows, group)}, list({struct}) AS rows\n"
            f"FROM {rows}\n"
            f"{self._lookup_joins(path, f'{rows}.r', rows)}"
            f"GROUP BY {columns_of(rows, group)}"
        )
        found = f"listed.rows AS {ident(path.name)},\n    {counted}.counts AS {ident(counts_name(path.name))}"
        if path.name in self.message_functions:
            function = self.message_functions[path.name]
            hub = f"hash({columns_of('listed', group)})"
            found = f"{function}({{hub: {hub}, rows: listed.rows, counts: {counted}.counts}}) AS {ident(path.name)}"
        return (
            f"SELECT {columns_of('listed', group)}, {found}\n"
            f"FROM (\n{indented(listed)}\n) listed\n"
            f"JOIN {counted} USING ({', '.join(group)})"
        )

    def _lookup_joins(self, path: Path, row: str, source: str) -> str:
        """Joins to the rows that a path's rows point at, one line each."""
        joins = ""
        for i, link in enumerate(path.lookups):
            parent = self.plan.table(link.parent)
            relation, keys = self.rows.source(parent), [ident(column) for column in link.parent_columns]
            visible = self.rows.and_visible(parent, f"p{i}", source)
            if self._is_read_once(path, link):
                relation = ident(pointed_name(parent, link.parent_columns) + " inputs")
                keys = [f"k{n}" for n in range(len(keys))]
                seen = visible_time_sql(f"p{i}.time", f"{source}.{self.rows.end}")
                visible = f" AND {seen}" if parent.time_column else ""
            pairs = zip(link.child_columns, keys, strict=True)
            match = " AND ".join(f"p{i}.{key} = {row}.{ident(c)}" for c, key in pairs)
            joins += f"LEFT JOIN {relation} p{i} ON {match}{visible}\n"
        return joins

    def _is_read_once(self, path: Path, link: Link) -> bool:
        """True if the network's inputs from the rows that a link points at are computed once per such row.

        This costs a join. It pays off for texts, but not for numbers and codes, and not in a call, which has one seed.
        """
        if self.rows.removals:
            return False  # What is left out depends on the seed.
        inputs = self.plan.inputs[link.parent]
        text_of_codes = self.coded_texts and bool(inputs.text_codes)
        return path.counted and self.rows.seed_kind != "call" and bool(inputs.text_columns) and not text_of_codes

    def common_ctes(self, found: Mapping[str, Latest]) -> Ctes:
        """CTEs with the network's inputs from rows that rows of paths point at and that at least one reader may see.

        Texts of rows that no reader may see must not get numbers: training would learn from them.
        """
        ctes: Ctes = []
        for (key, columns), readers in readers_of(path for path in self.plan.paths if path.name in found).items():
            pointing = [(found[path.name].rows, link) for path, link in readers if self._is_read_once(path, link)]
            if pointing:
                table, name = self.plan.table(key), pointed_name(self.plan.table(key), columns)
                seen, end = ident(name + " seen"), self.rows.end if table.time_column else None
                source = seen_join_sql(seen, self.rows.source(table), columns)
                source += and_visible_sql(table, "p", "seen.until")
                inputs = self._inputs_sql(table, len(columns), source)
                ctes.append(Cte(seen, seen_sql(pointing, end=end), "The keys that rows of paths point at."))
                ctes.append(Cte(ident(name + " inputs"), inputs, "What the network reads of the rows with these keys."))
        return ctes

    def needs_latest(self, path: Path) -> bool:
        """True if some of the rows that this path's rows point at are read once, see `_is_read_once`."""
        return any(self._is_read_once(path, link) for link in path.lookups)

    def needs_left(self, path: Path) -> bool:
        """False if a message function receives the rows that groups share, and what each group leaves out."""
        return path.name not in self.message_functions

    def _left_ctes(self, path: Path, latest: Latest) -> Ctes:
        """CTEs for the messages to groups that leave something out; the last one holds them."""
        # As if nothing were left out, and with the rows that a row points at read beside it, as in a call.
        whole = replace(self, rows=replace(self.rows, removals=False, seed_kind="call"))
        rows = latest.ordered
        struct, joins = (
            whole._row_fields(path, f"{rows}.r", f"{rows}.rank", rows),
            whole._lookup_joins(path, f"{rows}.r", rows),
        )
        return left_message_ctes(self.plan, path, latest, struct, joins, self.message_functions[path.name])

    def _inputs_sql(self, table: Table, keys: int, source: str) -> str:
        """Numbers n0, n1, ... and codes c0, c1, ... of rows `p`; for an age, its time as d0, d1, ... instead of n."""
        columns = [f"seen.k{i}" for i in range(keys)]
        columns += [f"{time_sql(table, 'p')} AS time"] if table.time_column else []
        inputs = self.plan.inputs[table.key]
        for i, number in enumerate(inputs.numbers):
            if number.kind == "age":
                columns.append(f"{as_timestamp_sql(table.column(number.column), 'p')} AS d{i}")
            else:
                columns.append(f"{self._number_sql(inputs, number, 'p', 'NULL')} AS n{i}")
        columns += [f"{code} AS c{i}" for i, code in enumerate(self._codes(inputs, "p", "true"))]
        return f"SELECT {indented(COMMA.join(columns)).lstrip()}\n{source}"

    def _row_struct(self, path: Path, row: str, rank: str, source: str) -> str:
        """The fields of `_row_fields` as a struct."""
        return f"{{{', '.join(self._row_fields(path, row, rank, source))}}}"

    def _row_fields(self, path: Path, row: str, rank: str, source: str) -> list[str]:
        """The network's inputs from a row and from the rows that it points at, which `_lookup_joins` joins.

        `source` is the relation with the moments of the row's reader.
        """
        as_of = f"{source}.{AS_OF}"
        numbers: list[str] = []
        codes: list[str] = []
        for i, segment in enumerate(segments(path, self.plan.inputs)):
            alias = f"p{i - 1}" if segment.link else row
            if segment.link and self._is_read_once(path, segment.link):
                numbers.append(f"CAST({alias}.k0 IS NOT NULL AS FLOAT)")
                for n, number in enumerate(segment.inputs.numbers):
                    age = f"CAST({age_sql(f'{alias}.d{n}', as_of)} AS FLOAT)"
                    numbers.append(age if number.kind == "age" else f"{alias}.n{n}")
                codes += [f"coalesce({alias}.c{n}, 0)" for n in range(segment.codes_width)]
            else:
                present = f"{alias}.{ident(segment.link.parent_columns[0])} IS NOT NULL" if segment.link else "true"
                numbers.append(f"CAST({present} AS FLOAT)")
                numbers += [
                    self._shown_sql(
                        segment.inputs, (n.column,), "NULL", self._number_sql(segment.inputs, n, alias, as_of), source
                    )
                    for n in segment.inputs.numbers
                ]
                codes += self._shown_codes(segment, alias, present, source)
        fields = [f"rank: CAST({rank} AS INTEGER)"]
        fields += [f"n{i}: {number}" for i, number in enumerate(numbers)]
        return fields + [f"c{i}: {code}" for i, code in enumerate(codes)]

    def _shown_codes(self, segment: Segment, alias: str, present: str, source: str) -> list[str]:
        """The codes of a row, 0 where a column is hidden; a text is hidden with each of its columns."""
        inputs = segment.inputs
        columns = [(category.column,) for category in inputs.categories] + [inputs.text_columns]
        codes = self._codes(inputs, alias, present)
        return [self._shown_sql(inputs, of, "0", code, source) for of, code in zip(columns, codes, strict=False)]

    def _shown_sql(self, inputs: NodeInputs, columns: tuple[str, ...], missing: str, value: str, source: str) -> str:
        """A value, or what stands for a missing one where a column that it is made of is hidden from the reader."""
        if not self.rows.removals:
            return value
        return shown_value_sql(self.plan, inputs.table, columns, value, missing, f"{source}.{OUT_COLUMN}")

    def _number_sql(self, inputs: NodeInputs, number: NumberInput, row: str, as_of: str) -> str:
        """A number of a row as FLOAT."""
        newest = age_sql(f"{NEWEST}.t", as_of)
        value = newest if number == DATA_AGE else number_sql(self.plan.table(inputs.table), number, row, as_of)
        return f"CAST({value} AS FLOAT)"

    def _codes(self, inputs: NodeInputs, row: str, present: str) -> list[str]:
        """The category codes of a row and, if it has text, the text's number.

        `present` is a condition in SQL that is true if the row exists.
        """
        codes = [category_sql(category, row) for category in inputs.categories]
        if not inputs.text_columns:
            return codes
        text = text_sql(self.plan.table(inputs.table), inputs, row)
        number = f"{self.text_function}({text if present == 'true' else f'CASE WHEN {present} THEN {text} END'})"
        if self.coded_texts and inputs.text_codes:
            known = " AND ".join(f"{codes[position]} > 0" for position in inputs.text_codes)
            number = f"CASE WHEN {known} THEN {TEXT_OF_CODES} ELSE {number} END"
        return [*codes, number]
