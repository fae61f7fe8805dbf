"""The network in SQL: what `exporters.onnx.network` writes, as common table expressions over the latest rows.

States are FLOAT[] and messages DOUBLE[], one element per channel; a linear map is one inner product per channel. The
weights are a table with one row, which is joined where a layer begins. The CTEs, in order:

    <path>__ranked, __latest  the rows that a path may read, and the latest of them, which it does read; see
                              `relsql.gather.sql.latest_rows`
    "<table> seen", ...       the rows of a table that rows of any path point at, by key; the steps of their encoder:
                              read, texts, scaled, inputs, sum, inverse, state; and "<table> states"
    <path>__pointed<i>        the messages of those rows to the rows of one path
    <path>__read, ...         the path's rows with the messages of the rows they point at; the steps of their encoder
    <path>__hidden            one vector per row from state, messages and ages; numbers and ages for statistics
    <path>__rows, ...         the last 1, 4, 16 of them as lists; statistics, means
    <path>__message           the path's message to a seed, or to a hub

DuckDB plans the whole query for every call, which takes tens of milliseconds for one entity. The steps are therefore
few and their expressions short (`docs/decisions/0011-plain-sql.md`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

from exporters.sql.layers import (
    distances_sql,
    element_sql,
    known_sql,
    linear_sql,
    norm_steps,
    scaled_sql,
    sum_sql,
    twice_relu_sql,
)
from exporters.sql.means import PathRows, averaged, single
from exporters.sql.stored_texts import with_stored_texts
from relsql.gather.layout import DATA_AGE, layouts_of
from relsql.gather.node_inputs import NodeInputs, category_sql, number_sql, text_sql
from relsql.gather.paths import Path
from relsql.gather.row_plan import RowPlan
from relsql.gather.sql.latest_rows import AS_OF, SEED, LatestRows
from relsql.gather.sql.lookups import pointed_name, readers_of, seen_join_sql, seen_sql
from relsql.gather.sql.newest import NEWEST
from relsql.gather.sql.path_columns import Latest
from relsql.gather.sql.ranking import Ctes, columns_of, struct_sql
from relsql.gather.sql.removals.conditions import (
    OUT_COLUMN,
    and_kept_event_sql,
    hidden_of_table_sql,
    ids_sql,
    shown_value_sql,
)
from relsql.gather.statistics import Statistic, mean_windows, path_statistics
from relsql.registry.row_embeddings import text_hash_sql
from relsql.schema.tables import Link, Table
from relsql.schema.times.events import age_sql, as_timestamp_sql, time_sql
from relsql.schema.visibility import visible_time_sql
from relsql.sql_text import COMMA, Cte, ident, indented

OF_SEEDS = "The path's message to each seed."


@dataclass(frozen=True, slots=True)
class SqlNetwork:
    """Builds the query that gathers and scores: a path's column is its message to the seed, DOUBLE[].

    Further columns are `<path>__evidence`, the number of rows, if they are evidence; `<path>__newest_days`, the age of
    the newest row, if the rows have a time; `<path>__pending`, the number of texts without an embedding, if there is
    text; and `<path>__chosen`, DOUBLE[], the statistics of the path that the head's trees read, if they read any.

    Attributes:
        rows: which rows are read.
        weights: the relation with the weights, in SQL, see `exporters.sql.weights.weights_table`.
        texts: the relation with each text's contribution to the row states of a table, in SQL: place (key of the
            table), text_hash, text_state.
        logarithmic: names of the scalings with at least one number on the log scale.
        channels: width of states.
        windows: for each mean, how many of the latest rows it covers.
        statistics: see `relsql.registry.cards.card.ModelCard.statistics`.
    """

    rows: LatestRows
    weights: str
    texts: str
    logarithmic: frozenset[str] = frozenset()
    channels: int = 64
    windows: tuple[int, ...] = (1, 4, 16)
    statistics: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def _plan(self) -> RowPlan:
        return self.rows.plan

    def columns_per_path(self) -> list[tuple[Path, list[str]]]:
        """The paths, each with the names of its columns, see `names`."""
        return [(path, self.names(path)) for path in self.rows.plan.paths]

    def with_weights(self, source: str, *computed: str, **parts: str) -> str:
        """A query that adds weights to a relation's rows; `parts` maps each new column to a part of the network.

        The relation must be a separate CTE or subquery: in a larger join, the weights would be copied for each row.
        `computed` are further columns; their expressions read weights from the relation `weights`.
        """
        columns = [f"weights.{ident(part)} AS {name}" for name, part in parts.items()]
        listed = indented(COMMA.join([*columns, *computed])).lstrip()
        return f"SELECT x.*, {listed}\nFROM {source} x, {self.weights} weights"

    def names(self, path: Path) -> list[str]:
        """Names of a path's columns: its message, and those of the further ones that it has."""
        columns = [path.name]
        columns += [f"{path.name}__evidence"] if path in self._plan.evidence_paths() else []
        columns += [f"{path.name}__newest_days"] if self._plan.timed(path) else []
        columns += [f"{path.name}__pending"] if self._plan.has_text(path) else []
        return columns + ([f"{path.name}__chosen"] if self.chosen(path) else [])

    def chosen(self, path: Path) -> tuple[Statistic, ...]:
        """The statistics of a path that the head's trees read, in order."""
        [layout] = layouts_of((path,), self._plan.inputs)
        found = path_statistics(layout, self.windows)
        return tuple(found[position] for position in self.statistics.get(path.name, ()))

    def single_ctes(self, path: Path, latest: str) -> Ctes:
        """A CTE with the one row of each seed, in the form of the last k rows of other paths."""
        seed = columns_of("self", (SEED, *self.rows.moments))
        columns = struct_sql(self._plan.table(path.table), self._plan.listed_columns(path))
        query = f"SELECT {seed}, {columns} AS r, 1 AS rank\n{self.rows.single_from(path)}"
        return [Cte(latest, query, "The one row of each seed.")]

    def needs_latest(self, path: Path) -> bool:
        """Always True: states, and messages to groups that leave something out, are computed from the rows."""
        return True

    needs_left = needs_latest

    def common_ctes(self, found: Mapping[str, Latest]) -> Ctes:
        """CTEs for the states of the rows that rows of paths point at, each computed once."""
        ctes: Ctes = []
        for (key, columns), readers in readers_of(self._plan.paths).items():
            table, keys = self._plan.table(key), [f"k{i}" for i in range(len(columns))]
            name = pointed_name(table, columns)
            seen, read = ident(name + " seen"), ident(name + " read")
            pointing = [(found[path.name].rows, link) for path, link in readers]
            hidden = partial(hidden_of_table_sql, self._plan, key) if self.rows.removals else None
            ctes.append(
                Cte(
                    seen,
                    seen_sql(pointing, by=True, hidden=hidden),
                    "The keys that the paths' rows point at, and which path's rows do.",
                )
            )
            hiding = ["hidden"] if self.rows.removals else []
            kept = [f"seen.{column}" for column in (*keys, *hiding, *(f"by{i}" for i in range(len(readers))))]
            kept += [ids_sql(self._plan, table, "p")] if self.rows.removals else []
            kept += [f"{time_sql(table, 'p')} AS time"] if table.time_column else []
            kept += [f"{time} AS date{i}" for i, time in enumerate(self._dates(table, "p", "seen.hidden"))]
            source = seen_join_sql(seen, self.rows.source(table), columns)
            query = self._read_sql(table, "p", kept, source, "seen.hidden")
            ctes.append(Cte(read, query, "The columns of the rows with these keys."))
            steps, state = self._state_steps(table, name + " ", read)
            query = f"SELECT * EXCLUDE (w, scaled)\nFROM {state}"
            ctes += [*steps, Cte(ident(name + " states"), query, "The states of these rows.")]
        return ctes

    def ctes_of(self, path: Path, latest: Latest) -> Ctes:
        """CTEs from the path's rows to its message for every seed."""
        pointed = "The messages of the rows that this path's rows point at."
        ctes = [
            Cte(f"{path.name}__pointed{i}", self._pointed_sql(path, i, link), pointed)
            for i, link in enumerate(path.lookups)
        ]
        read, message = f"{path.name}__read", f"{path.name}__message"
        ctes.append(Cte(read, self._rows_sql(path, latest), "The columns of the path's rows, with these messages."))
        part = f"path {path.name}"
        ages = f"{self._scaled_sql('ages', part)} AS scaled_ages"
        steps, state = self._state_steps(self._plan.table(path.table), f"{path.name}__", read, ages, v=part)
        ctes += [*steps, *self._hidden_steps(path, state, latest.group)]
        ctes += self._message_steps(path, latest)
        if latest.hub is None:
            return [*ctes, Cte(ident(path.name), f"FROM {message}", OF_SEEDS)]
        return [*ctes, Cte(ident(path.name), self.rows.spread_sql(self.names(path), *latest.hub, message), OF_SEEDS)]

    def _shown_sql(self, table: str, columns: tuple[str, ...], value: str, missing: str, hidden: str) -> str:
        """A value, or what stands for a missing one where one of its columns is hidden; `hidden` is its number."""
        if not self.rows.removals:
            return value
        return shown_value_sql(self._plan, table, columns, value, missing, hidden)

    def _read_sql(self, table: Table, row: str, kept: Iterable[str], source: str, hidden: str) -> str:
        """A query for the network's inputs from a table's rows: numbers, codes and the text's hash, after `kept`.

        `hidden` is the number of the hidden column, an expression, where seeds leave something out.
        """
        inputs = self._plan.inputs[table.key]

        key = table.key
        values = [
            self._shown_sql(key, (n.column,), f"CAST({number_sql(table, n, row, 'NULL')} AS FLOAT)", "NULL", hidden)
            for n in inputs.static_numbers
        ]
        codes = [self._shown_sql(key, (c.column,), category_sql(c, row), "0", hidden) for c in inputs.categories]
        # NaN counts as missing, like NULL.
        known = (f"CASE WHEN {value} = 'nan' THEN NULL ELSE {value} END" for value in values)
        columns = [*kept, f"[{', '.join(known)}]::FLOAT[] AS numbers"]
        columns.append(f"[{', '.join(codes)}]::INTEGER[] AS codes")
        if inputs.text_columns:
            text_hash = text_hash_sql(text_sql(table, inputs, row))
            text_hash = self._shown_sql(key, inputs.text_columns, text_hash, "NULL", hidden)
            columns.append(f"{text_hash} AS text_hash")
        return f"SELECT {indented(COMMA.join(columns)).lstrip()}\n{source}"

    def _state_steps(self, table: Table, prefix: str, read: str, *computed: str, **others: str) -> tuple[Ctes, str]:
        """CTEs for the states of the rows that `_read_sql` reads, and the name of the last one.

        The other columns are kept. New columns are `scaled`, the standardised numbers; `w`, the weights of the table;
        and those that `with_weights` adds for `computed` and `others`.
        """
        inputs, key = self._plan.inputs[table.key], table.key
        scaled, encoded, summed, inverse, state = (
            ident(prefix + step) for step in ("scaled", "inputs", "sum", "inverse", "state")
        )
        ctes, source, dropped, text = [], read, ["numbers", "codes"], ""
        if inputs.text_columns:
            stored, source = with_stored_texts(self.texts, table, read, ident(prefix + "texts"))
            ctes.append(stored)
            dropped = [*dropped, "text_hash", "text_state"]
            text = ",\n    coalesce(text_state, w.zeros) AS text_state"
        codes = self._codes(inputs)
        coded = "".join(f",\n    {code} + 1 AS code{i}" for i, code in enumerate(codes))
        embedded = "".join(f" + {element_sql(f'm.category{i}', f'code{i}')}" for i in range(len(codes)))
        mapped = f"list_transform(w.channels, lambda m: CAST(list_inner_product(m.encoder, inputs){embedded} AS FLOAT))"
        used = ", ".join(["inputs", *(f"code{i}" for i in range(len(codes)))])
        standardised = self._scaled_sql("numbers", key)
        return [
            *ctes,
            Cte(
                scaled,
                self.with_weights(source, f"{standardised} AS scaled", *computed, w=key, **others),
                "The numbers, standardised, with the weights of the table's encoder.",
            ),
            Cte(
                encoded,
                f"SELECT * EXCLUDE ({', '.join(dropped)}),\n"
                f"    list_concat({distances_sql('w.edges', 'scaled')}, [1]) AS inputs{text}{coded}\n"
                f"FROM {scaled}",
                "The encoder's inputs: distances of the numbers from the edges of their bins, and codes.",
            ),
            Cte(
                summed,
                f"SELECT * EXCLUDE ({used}),\n    {mapped} AS sum\nFROM {encoded}",
                "The encoder's linear layer, one element a channel.",
            ),
            *norm_steps(
                summed,
                inverse,
                state,
                *(["sum", "text_state"] if text else ["sum"]),
                norm="w",
                channels=self.channels,
                kind="FLOAT",
            ),
        ], state

    def _codes(self, inputs: NodeInputs) -> list[str]:
        """The category codes of a row: first of textual categories, then of numbers that are also categories."""
        codes = [element_sql("codes", i + 1) for i in range(len(inputs.categories))]
        numbered = [i for i, number in enumerate(inputs.static_numbers) if number.categories]
        return codes + [
            f"coalesce(list_position(w.values{n}, {element_sql('numbers', i + 1)}), 0)" for n, i in enumerate(numbered)
        ]

    def _pointed_sql(self, path: Path, position: int, link: Link) -> str:
        """A query for the messages of the rows that a path's rows point at by one link."""
        parent = self._plan.table(link.parent)
        readers = readers_of(self._plan.paths)[link.parent, link.parent_columns]
        found = f"FROM {ident(pointed_name(parent, link.parent_columns) + ' states')}"
        found += f" WHERE by{readers.index((path, link))}" if len(readers) > 1 else ""
        kept = [f"k{i}" for i in range(len(link.child_columns))]
        kept += ["hidden", "out_tables", "out_rows"] if self.rows.removals else []
        kept += ["time"] if parent.time_column else []
        kept += [f"date{i}" for i in range(len(self._dates(parent)))]
        kept += ["pending"] if self._plan.inputs[link.parent].text_columns else []
        return (
            f"SELECT {', '.join(kept)}, {linear_sql(f'v.lookup{position}', 'state')} AS message\n"
            f"FROM (\n{indented(self.with_weights(f'({found})', v=f'path {path.name}'))}\n)"
        )

    def _rows_sql(self, path: Path, latest: Latest) -> str:
        """A query for the network's inputs from a path's rows: columns, ages, and messages of rows they point at."""
        table, rows = self._plan.table(path.table), latest.rows
        as_of = f"{rows}.{AS_OF}"
        ages = [self._age_sql(time, as_of) for time in self._dates(table, f"{rows}.r", f"{rows}.{OUT_COLUMN}")]
        ages += [self._age_sql(f"{NEWEST}.t", as_of)] if path.data_age else []
        source = f"FROM {rows}\n{self.rows.newest_join(path, rows)}"
        kept = [columns_of(rows, latest.group), f"{rows}.rank"]
        kept += [f"{ages[0]} AS days"] if table.time_column else []
        pending = []
        for i, link in enumerate(path.lookups):
            name, parent = f"{path.name}__pointed{i}", self._plan.table(link.parent)
            on = [f"{name}.k{n} = {rows}.r.{ident(c)}" for n, c in enumerate(link.child_columns)]
            on += [visible_time_sql(f"{name}.time", f"{rows}.{self.rows.end}")] if parent.time_column else []
            on += (
                [f"{name}.hidden = {hidden_of_table_sql(self._plan, link.parent, rows)}"] if self.rows.removals else []
            )
            kept_sql = and_kept_event_sql(name, rows) if self.rows.removals else ""
            source += f"LEFT JOIN {name} ON {' AND '.join(on)}{kept_sql}\n"
            ages += [self._age_sql(f"{name}.date{n}", as_of) for n in range(len(self._dates(parent)))]
            kept.append(f"{name}.message AS pointed{i}")
            pending += [f"coalesce({name}.pending, 0)"] if self._plan.inputs[link.parent].text_columns else []
        kept += [f"[{', '.join(ages)}]::FLOAT[] AS ages", f"{' + '.join(pending) or '0'} AS pointed_pending"]
        return self._read_sql(table, f"{rows}.r", kept, source.rstrip(), f"{rows}.{OUT_COLUMN}")

    def _hidden_steps(self, path: Path, state: str, group: tuple[str, ...]) -> Ctes:
        """CTEs for each row's message before it is averaged, and for the values that statistics are computed from."""
        name, numbers = path.name, range(len(path.lookups))
        pointed = "".join(f",\n    coalesce(pointed{i}, v.zeros) AS pointed{i}" for i in numbers)
        kept = [*group, "rank", *(["days"] if self._plan.timed(path) else [])]
        texts = ["pointed_pending", *(["pending"] if self._plan.inputs[path.table].text_columns else [])]
        kept += [f"{' + '.join(texts)} AS pending"] if self._plan.has_text(path) else []
        dropped = ["state", "scaled_ages", *(f"pointed{i}" for i in numbers)]
        known = known_sql("list_concat(scaled, scaled_ages)")
        # FLOAT is precise enough for means, and halves the bytes to copy.
        summed = sum_sql(linear_sql("v.root", "inputs"), *(f"pointed{i}" for i in numbers))
        return [
            Cte(
                f"{name}__all_inputs",
                f"SELECT * EXCLUDE ({', '.join(dropped)}),\n"
                f"    list_concat(state, {distances_sql('v.edges', 'scaled_ages')}, [CAST(1 AS FLOAT)]) AS inputs,\n"
                f"    {known} AS known{pointed}\n"
                f"FROM {state}",
                "The inputs of the layer that makes messages: states and ages.",
            ),
            Cte(
                f"{name}__hidden",
                f"SELECT {', '.join(kept)}, known,\n    CAST({twice_relu_sql(summed)} AS FLOAT[]) AS hidden\n"
                f"FROM {name}__all_inputs",
                "Each row's message before it is averaged.",
            ),
        ]

    def _message_steps(self, path: Path, latest: Latest) -> Ctes:
        """CTEs for a path's message to each group, from means over its latest rows and from statistics."""
        name = path.name
        rows = self._path_rows(path)
        found = averaged(rows, latest) if path.counted else single(rows)
        scaled = self._scaled_sql("statistics", f"path {name}", "statistics_scaling")
        inputs = [*found.means, distances_sql("v.statistics_edges", "scaled"), "[1.0]"]
        return [
            *found.ctes,
            Cte(
                f"{name}__statistics",
                self.with_weights(f"(\n{indented(found.query)}\n)", f"{scaled} AS scaled", v=f"path {name}"),
                "Statistics of each group's rows, standardised.",
            ),
            Cte(
                f"{name}__means",
                f"SELECT * EXCLUDE ({', '.join(['statistics', 'scaled', *found.lists])}),\n"
                f"    list_concat({', '.join(inputs)}) AS inputs\nFROM {name}__statistics",
                "Means of the messages over the latest rows, and the statistics.",
            ),
            Cte(
                f"{name}__message",
                f"SELECT * EXCLUDE (v, inputs),\n    {linear_sql('v.message', 'inputs')} AS {ident(name)}\n"
                f"FROM {name}__means",
                "The path's message to each group.",
            ),
        ]

    def _path_rows(self, path: Path) -> PathRows:
        return PathRows(
            path,
            self._plan.table(path.table),
            width=len(self._plan.inputs[path.table].static_numbers) + self._ages_width(path),
            channels=self.channels,
            windows=list(mean_windows(path.fanout, self.windows)),
            evidence=path in self._plan.evidence_paths(),
            timed=self._plan.timed(path),
            has_text=self._plan.has_text(path),
            chosen=self.chosen(path),
        )

    def _scaled_sql(self, numbers: str, part: str, name: str = "scaling") -> str:
        """Standardised numbers of a column, for a query in which the relation `weights` is joined."""
        logarithmic = f"{part}.{name}" in self.logarithmic
        return scaled_sql(numbers, f"weights.{ident(part)}.{name}", logarithmic=logarithmic)

    def _dates(self, table: Table, row: str = "", hidden: str = "") -> list[str]:
        """SQL expressions of the times whose ages the network reads; the row's own time comes first."""
        dated = (n for n in self._plan.inputs[table.key].ages if n != DATA_AGE)
        return [
            self._shown_sql(table.key, (n.column,), as_timestamp_sql(table.column(n.column), row), "NULL", hidden)
            for n in dated
        ]

    def _age_sql(self, time: str, as_of: str) -> str:
        return f"CAST({age_sql(time, as_of)} AS FLOAT)"

    def _ages_width(self, path: Path) -> int:
        own = len(self._plan.inputs[path.table].ages) + path.data_age
        return own + sum(len(self._plan.inputs[link.parent].ages) for link in path.lookups)
