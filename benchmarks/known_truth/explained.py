"""Whether explanations name what a score depends on: a database with a planted rule, whose rows and values are known.

    python -m benchmarks.known_truth.explained [--accounts 600] [--seed 1]

Accounts have a plan, a region without any effect, and events of six kinds. In each period of 30 days an account cancels
with probability .9 if one of its events of the 30 days before is an outage, .6 if its plan is a trial, and else .1. Two
things are planted: an outage that is the only one in that time, and the value `trial`. A planted thing moves a score if
the score without it differs by more than .1. The command prints how many scores it moves, and the share of them in
which it is among the three largest contributions; and the same share of all scores whose true probability it moves by
more than .1.
"""

from __future__ import annotations

import argparse
import datetime
import tempfile
from dataclasses import dataclass
from pathlib import Path

import duckdb

import relsql
from relsql.database.connections import transaction
from relsql.database.names import current_catalog
from relsql.schema.declared.declare import declare_link, declare_table
from relsql.schema.declared.text import parse_link
from relsql.tasks.stored_tasks import save_task
from relsql.tasks.task import Task
from relsql.training.options import TrainOptions
from relsql.training.train import train

START = datetime.datetime(2020, 1, 1)
PERIODS, PERIOD_DAYS = 30, 30
AS_OF = START + datetime.timedelta(days=PERIOD_DAYS * (PERIODS - 1))
MOVED = 0.1
AMONG = 3

TASK = Task(
    name="cancels",
    task_type="binary_classification",
    entity_table="accounts",
    entity_col="account_id",
    target_col="cancelled",
    time_col="timestamp",
    timedelta=f"{PERIOD_DAYS} days",
    val_timestamp=START + datetime.timedelta(days=PERIOD_DAYS * 20),
    test_timestamp=START + datetime.timedelta(days=PERIOD_DAYS * 25),
    sql="""
        SELECT t.timestamp, a.account_id, (count(c.account_id) > 0)::BIGINT AS cancelled
        FROM timestamps t CROSS JOIN accounts a
        LEFT JOIN cancellations c ON c.account_id = a.account_id
          AND c.happened > t.timestamp AND c.happened <= t.timestamp + INTERVAL '{timedelta}'
        GROUP BY ALL""",
)

_TABLES = """
    CREATE TABLE accounts AS
    SELECT i AS account_id, ['trial', 'basic', 'full'][1 + (hash(i, {seed}, 1) % 3)::INTEGER] AS plan,
        ['north', 'south', 'east', 'west'][1 + (hash(i, {seed}, 2) % 4)::INTEGER] AS region
    FROM range({accounts}) t(i);
    CREATE TABLE events AS
    SELECT row_number() OVER (ORDER BY happened, account_id) AS event_id, *
    FROM (
        SELECT account_id,
            CASE WHEN hash(account_id, d, {seed}, 3) % 100 < 8 THEN 'outage'
                ELSE ['login', 'invoice', 'export', 'invite', 'call'][1 + (hash(account_id, d, {seed}, 4) % 5)::INTEGER]
            END AS kind,
            (hash(account_id, d, {seed}, 5) % 1000) / 10 AS amount,
            TIMESTAMP '{start}' + to_days((d * 5)::INTEGER) AS happened
        FROM accounts, range({periods} * 6) t(d) WHERE hash(account_id, d, {seed}, 6) % 100 < 50
    );
    CREATE TABLE cancellations AS
    SELECT p.account_id,
        TIMESTAMP '{start}' + to_days((p.n * 30 + 1 + hash(p.account_id, p.n, {seed}, 7) % 28)::INTEGER) AS happened
    FROM (
        SELECT a.account_id, t.n, CASE WHEN count(e.event_id) > 0 THEN .9 WHEN any_value(a.plan) = 'trial' THEN .6
            ELSE .1 END AS probability
        FROM accounts a CROSS JOIN range({periods}) t(n)
        LEFT JOIN events e ON e.account_id = a.account_id AND e.kind = 'outage'
            AND e.happened > TIMESTAMP '{start}' + to_days((t.n * 30 - 30)::INTEGER)
            AND e.happened <= TIMESTAMP '{start}' + to_days((t.n * 30)::INTEGER)
        GROUP BY a.account_id, t.n
    ) p
    WHERE (hash(p.account_id, p.n, {seed}, 8) % 10000) / 10000 < p.probability;
    ALTER TABLE accounts ADD PRIMARY KEY (account_id);
    ALTER TABLE events ADD PRIMARY KEY (event_id);
"""

_PLANTED = """
    WITH recent AS (
        SELECT account_id, count(*) AS outages, any_value(event_id) AS event_id FROM events
        WHERE kind = 'outage' AND happened > {begin} AND happened <= {end} GROUP BY account_id
    )
    SELECT a.account_id, 'outage' AS what, CAST(r.event_id AS VARCHAR) AS row_key, NULL AS column_name
    FROM accounts a JOIN recent r USING (account_id) WHERE r.outages = 1
    UNION ALL
    SELECT a.account_id, 'trial', CAST(a.account_id AS VARCHAR), 'plan'
    FROM accounts a WHERE a.plan = 'trial' AND a.account_id NOT IN (SELECT account_id FROM recent)
"""


@dataclass(frozen=True, slots=True)
class Found:
    """Numbers of scores: with a planted thing, moved by it, and in which it is among the first, of these and of all."""

    what: str
    scores: int
    moved: int
    named: int
    named_of_all: int


def create(path: Path, accounts: int, seed: int) -> None:
    """Write the database."""
    with duckdb.connect(str(path)) as con:
        con.execute(_TABLES.format(accounts=accounts, seed=seed, start=START, periods=PERIODS))
        catalog = current_catalog(con)
        with transaction(con):
            for table in ("events", "cancellations"):
                declare_table(con, catalog, table, time_column="happened")
                declare_link(con, catalog, parse_link(f"{table}(account_id) -> accounts"))
            save_task(con, catalog, TASK)


def measure(path: Path) -> list[Found]:
    """Train a model, explain all scores at `AS_OF`, and look for what is planted."""
    with duckdb.connect(str(path)) as con:
        trained = train(con, TASK.name, name="cancels", options=TrainOptions(threads=1))
        print({name: round(value, 4) for name, value in trained.metrics.items()})
        relsql.attach(con)
        con.execute(
            f"CREATE TEMP TABLE explained AS FROM explain_cancels_batch(as_of := TIMESTAMP '{AS_OF}', top := NULL)"
        )
        begin, end = f"TIMESTAMP '{AS_OF}' - INTERVAL 30 DAY", f"TIMESTAMP '{AS_OF}'"
        query = f"""
            SELECT what, count(*), count(*) FILTER (abs(contribution) > {MOVED}),
                count(*) FILTER (abs(contribution) > {MOVED} AND rank <= {AMONG}), count(*) FILTER (rank <= {AMONG})
            FROM ({_PLANTED.format(begin=begin, end=end)}) planted
            LEFT JOIN explained e ON e.account_id = planted.account_id AND e.row_key = planted.row_key
                AND e.column_name IS NOT DISTINCT FROM planted.column_name
                AND e.table_name = CASE WHEN what = 'outage' THEN 'events' ELSE 'accounts' END
            GROUP BY what ORDER BY what ASC"""
        return [Found(*row) for row in con.execute(query).fetchall()]


def main() -> None:
    """Run the command; see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.known_truth.explained", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--accounts", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "accounts.duckdb"
        create(path, options.accounts, options.seed)
        for found in measure(path):
            print(
                f"{found.what}: {found.scores} scores, moved {found.moved}, "
                f"among the first {AMONG} in {found.named / max(found.moved, 1):.1%} of these, "
                f"in {found.named_of_all / found.scores:.1%} of all"
            )


if __name__ == "__main__":
    main()
