"""Plugin for dbt-duckdb: dbt models call `predict_<model>`, and a dbt Python model trains.

    plugins:                      # in profiles.yml
      - module: relsql.dbt
        config: {models: [churn]} # optional: names, and `database`; default: all models of the target's database

Temporary macros belong to one cursor, and dbt opens a cursor for every node. Each node therefore sees the models that
exist by then, including those trained earlier in the same run. A model that cannot be called must not keep dbt from
building the tables that would fix it: its functions exist, and raise an error with the reason when they are called.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import duckdb
import pyarrow as pa

from relsql.database.cursors import task_cursor
from relsql.database.names import DEFAULT_SCHEMA, Macro, stored_catalog, stored_name
from relsql.errors import ArtifactError, DatabaseError, MissingExtraError, ModelError, RelsqlError, nearest, train_extra
from relsql.registry.models import find_model, read_models
from relsql.registry.versions import ModelRow, parse_reference
from relsql.schema.declared.declarations import Declarations
from relsql.tasks.task import Task
from relsql.training.options import TrainOptions
from udfs.ambiguous_functions import mark_macro
from udfs.attach import attach
from udfs.macros import refusing_macros

try:
    from dbt.adapters.duckdb.plugins import BasePlugin
    from dbt.adapters.events.logging import AdapterLogger
    from dbt_common.exceptions import DbtRuntimeError
except ImportError as error:
    raise MissingExtraError.for_extra("dbt", "relsql.dbt") from error

OPTIONS = ("database", "models")
_LOGGER = AdapterLogger("relsql")

_TRAINING = threading.Lock()
"""dbt runs nodes in threads, and torch has one random state per process: two trainings at once would disturb it."""


@contextmanager
def _dbt_errors() -> Iterator[None]:
    """Turn relsql's errors into errors that dbt reports on one line; for others dbt prints the whole traceback."""
    try:
        yield
    except RelsqlError as error:
        raise DbtRuntimeError(str(error)) from error


class Plugin(BasePlugin):  # type: ignore[misc]
    """Attaches models to every cursor that dbt opens. dbt-duckdb creates it from the profile."""

    @_dbt_errors()
    def initialize(self, plugin_config: dict[str, Any]) -> None:
        """Read the profile's `config`, which dbt-duckdb has merged with the profile's `settings`.

        Raises:
            DbtRuntimeError: an option is unknown or has the wrong form.
        """
        unknown = set(plugin_config) - set(OPTIONS) - set(self.creds.settings or ())
        if unknown:
            raise RelsqlError(
                f"plugin relsql.dbt has no option '{min(unknown)}'",
                expected=nearest(min(unknown), OPTIONS),
                fix="correct 'config' of the plugin in profiles.yml",
            )
        self._database: str = plugin_config.get("database") or self.creds.database
        self._models: list[str] | None = plugin_config.get("models")
        if self._models is not None and not isinstance(self._models, list):
            raise RelsqlError(
                f"option 'models' of plugin relsql.dbt is {self._models!r}",
                expected=f"a list of names: models: [{self._models}]",
            )

    @_dbt_errors()
    def configure_cursor(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Make the models callable on a cursor.

        Raises:
            DbtRuntimeError: the database that holds the models is not attached, or `x` in `churn@x` is not a version.
        """
        _check_attached(cursor, self._database)
        database = stored_catalog(cursor, self._database)
        known = list(dict.fromkeys(model.name for model in read_models(cursor, database)))
        for text in known if self._models is None else self._models:
            reference = parse_reference(text)
            try:
                if stored_name(reference.name, known) is None:
                    raise _untrained(reference.name, known, self._database)
                attach(cursor, database=self._database, models=[text])
            except (ModelError, ArtifactError) as error:
                version = reference.version if isinstance(reference.version, int) else 0
                _create_refusals(cursor, database, reference.function_suffix(version), str(error))


def train(
    dbt: Any,
    session: Any,
    task: Task | str,
    *,
    name: str,
    primary_keys: Sequence[str] = (),
    time_columns: Sequence[str] = (),
    links: Sequence[str] = (),
    options: TrainOptions | None = None,
    force: bool = False,
) -> Any:
    """Train a model inside a dbt Python model, on the tables that earlier dbt models have built.

    Nothing is trained if a version with the same inputs exists, see `relsql.train`. Training uses a separate cursor in
    the database of the dbt model and sees committed data.

    Args:
        dbt: the first argument of the dbt model.
        session: its second argument, the connection.
        task: a task, or the name of one in `relsql.tasks`.
        name: name of the model: `churn` gives `predict_churn`.
        primary_keys: primary keys without a constraint: `orders(order_id)`; stored in schema relsql, like the next two.
        time_columns: time columns: `orders(ordered_at)`.
        links: foreign keys without a constraint: `orders(customer_id) -> customers`.
        options: see `TrainOptions`.
        force: train even if such a version exists.

    Returns:
        A relation with one row, which the dbt model returns: model, version, task, task_type, created (UTC), metrics
        (JSON), sha256.

    Raises:
        RelsqlError: the declarations, the task or the data do not allow training.
    """
    declarations = Declarations.parse(primary_keys=primary_keys, time_columns=time_columns, links=links)
    catalog = str(dbt.this.database)
    with _TRAINING, task_cursor(session, catalog) as cursor:
        if declarations:
            declarations.store(cursor, catalog)
        with train_extra("training in dbt"):
            from relsql.training.train import train as train_model

            trained = train_model(cursor, task, name=name, options=options, force=force)
        how = "already trained" if trained.reused else f"trained in {trained.seconds:.0f} s"
        _LOGGER.info(f"model {name} version {trained.version} on {trained.task}: {how}")
        model = find_model(cursor, catalog, name)
    # A hook may have left a result unread, which keeps the session busy.
    session.execute("SELECT 1").fetchall()
    # dbt writes a relation through the session. It would write any other type through another cursor, whose changes an
    # open transaction cannot see.
    return session.from_arrow(_as_row(model))


def _check_attached(con: duckdb.DuckDBPyConnection, database: str) -> None:
    names = [name for (name,) in con.execute("FROM system.main.duckdb_databases() SELECT database_name").fetchall()]
    if stored_name(database, names) is None:
        raise DatabaseError(
            f"database '{database}' of plugin relsql.dbt is not attached",
            expected=nearest(database, set(names) - {"system", "temp"}),
            fix="add it under 'attach' in profiles.yml",
        )


def _as_row(model: ModelRow) -> pa.Table:
    return pa.table(
        {
            "model": [model.name],
            "version": [model.version],
            "task": [model.task],
            "task_type": [model.task_type],
            "created": [model.created],
            "metrics": [json.dumps(model.metrics)],
            "sha256": [model.sha256],
        }
    )


def _untrained(name: str, active: Sequence[str], database: str) -> ModelError:
    return ModelError(
        f"model '{name}' does not exist in database '{database}'",
        expected=nearest(name, active),
        fix=f"ref() the dbt model that trains '{name}', so that it runs before",
    )


def _create_refusals(con: duckdb.DuckDBPyConnection, database: str, suffix: str, message: str) -> None:
    """Create macros for a model that cannot be called, which raise an error with this message."""
    for macro in refusing_macros(suffix, message):
        con.execute(macro.statement())
        mark_macro(con, Macro("temp", DEFAULT_SCHEMA, macro.name, macro.is_table), suffix, [database])
