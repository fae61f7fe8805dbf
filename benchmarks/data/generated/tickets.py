"""Tickets: a forecast that needs the meaning of free texts in addition to the numbers of the account's orders."""

from __future__ import annotations

import datetime
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from benchmarks.data.generated import tickets_text
from benchmarks.data.generated.database import (
    FloatArray,
    Generated,
    TableRows,
    query_features,
    recency_features,
    write_database,
)
from benchmarks.data.generated.tickets_law import PERIOD_DAYS, PLANS, Draw, Size, forecasts, simulate
from relsql.demo.names import Namer
from relsql.sql_text import literal
from relsql.tasks.task import Task

START = datetime.datetime(2018, 1, 1)
PERIOD = datetime.timedelta(days=PERIOD_DAYS)
PRODUCTS = 15
CHANNELS = ("mail", "web", "phone")
WINDOWS = (1, 4, 16)
DAYS = (30, 60, 120, 360)

LABEL_SQL = """\
SELECT t.timestamp AS date, a.account_id AS account_id,
       CASE WHEN count(o.order_id) = 0 THEN 1 ELSE 0 END AS churned
FROM timestamps t
JOIN accounts a ON a.signed_up <= t.timestamp
LEFT JOIN orders o
    ON o.account_id = a.account_id AND o.date > t.timestamp AND o.date <= t.timestamp + INTERVAL '{timedelta}'
GROUP BY t.timestamp, a.account_id"""

TASK = Task(
    name="account-churn",
    task_type="binary_classification",
    entity_table="accounts",
    entity_col="account_id",
    target_col="churned",
    time_col="date",
    timedelta=f"{PERIOD_DAYS} days",
    sql=LABEL_SQL,
    description="Will the account place no order in the next 30 days?",
)


def create(path: Path, seed: int, size: Size | None = None) -> None:
    """Write the database and its truth; the same seed gives the same rows."""
    size = size or Size()
    rng = np.random.default_rng(seed)
    draw = simulate(rng, size)
    write_database(path, _tables(rng, draw), size.divided(TASK, START, PERIOD), _truth(draw))


def features(con: duckdb.DuckDBPyConnection, labels: pa.Table) -> dict[str, FloatArray]:
    """The planted features: the account's columns, its orders, the words of its last ticket, and their meaning."""
    plans = ", ".join(f"(a.plan = {literal(plan)})::INTEGER" for plan in PLANS)
    own = f"""SELECT {plans}, date_diff('day', a.signed_up, l.as_of)
              FROM known_labels l JOIN accounts a ON a.account_id = l.entity ORDER BY l.as_of, l.entity"""
    orders = """SELECT l.entity, l.as_of, o.amount, date_diff('day', o.date, l.as_of) AS age,
                       row_number() OVER (PARTITION BY l.entity, l.as_of ORDER BY o.date DESC, o.order_id DESC) AS nth
                FROM known_labels l JOIN orders o ON o.account_id = l.entity AND o.date <= l.as_of"""
    tickets = f"""SELECT l.entity, l.as_of, {_tone_sql("happy")} - {_tone_sql("angry")} AS tone,
                         date_diff('day', t.date, l.as_of) AS age,
                         row_number() OVER (PARTITION BY l.entity, l.as_of ORDER BY t.date DESC, t.ticket_id) AS nth
                  FROM known_labels l JOIN tickets t ON t.account_id = l.entity AND t.date <= l.as_of"""
    own_columns = query_features(con, labels, own)
    one_hop = [own_columns, recency_features(con, labels, orders, ("amount", "age"), WINDOWS)]
    one_hop.append(_sums(con, labels, orders, "1"))
    tones = [recency_features(con, labels, tickets, ("tone", "age"), WINDOWS), _sums(con, labels, tickets, "tone")]
    return {
        "own columns": own_columns,
        "one hop": np.column_stack(one_hop),
        "words, not their meaning": np.column_stack([*one_hop, _words(con, labels)]),
        "text": np.column_stack([*one_hop, *tones]),
    }


def _words(con: duckdb.DuckDBPyConnection, labels: pa.Table) -> FloatArray:
    """How often each word is in the account's last ticket, float64 [labels, vocabulary]."""
    vocabulary = {word: i for i, word in enumerate(tickets_text.vocabulary())}
    con.register("known_labels", labels)
    query = """SELECT arg_max(t.body, (t.date, -t.ticket_id)) FROM known_labels l
               LEFT JOIN tickets t ON t.account_id = l.entity AND t.date <= l.as_of
               GROUP BY l.entity, l.as_of ORDER BY l.as_of, l.entity"""
    bodies = [body or "" for (body,) in con.execute(query).fetchall()]
    con.unregister("known_labels")
    counts = np.zeros((len(bodies), len(vocabulary)))
    for row, body in enumerate(bodies):
        for word in tickets_text.words(body):
            counts[row, vocabulary[word]] += 1
    return counts


def _sums(con: duckdb.DuckDBPyConnection, labels: pa.Table, rows: str, value: str) -> FloatArray:
    """Sums of `value` over the rows of the last 30, 60, ... days, float64 [labels, len(DAYS)]."""
    sums = ", ".join(f"coalesce(sum({value}) FILTER (WHERE age < {days}), 0)" for days in DAYS)
    query = f"""SELECT {sums} FROM known_labels l LEFT JOIN ({rows}) r ON r.entity = l.entity AND r.as_of = l.as_of
                GROUP BY l.entity, l.as_of ORDER BY l.as_of, l.entity"""
    return query_features(con, labels, query)


def _tone_sql(tone: str) -> str:
    """1 if the ticket `t` has a word of this tone, else 0."""
    words = ", ".join(literal(word) for word in tickets_text.SYNONYMS[tone])
    return f"list_has_any(regexp_split_to_array(t.body, '[^a-z]+'), [{words}])::INTEGER"


def _tables(rng: np.random.Generator, draw: Draw) -> dict[str, TableRows]:
    namer, accounts = Namer(rng), len(draw.plan)
    joined = np.datetime64(START, "D") + (draw.joined * PERIOD_DAYS).astype("timedelta64[D]")
    towns = [namer.place() for _ in range(20)]
    customers = {
        "account_id": np.arange(1, accounts + 1),
        "name": [namer.team() for _ in range(accounts)],
        "plan": np.array(PLANS)[draw.plan],
        "town": rng.choice(towns, accounts),
        "signed_up": joined,
    }
    products = {
        "product_id": np.arange(1, PRODUCTS + 1),
        "name": [f"{namer.place()} {tickets_text.THINGS[i]}" for i in range(PRODUCTS)],
        "price": np.round(rng.uniform(10, 90, PRODUCTS), 2),
    }
    return {
        "products": TableRows(
            "product_id INTEGER PRIMARY KEY, name VARCHAR NOT NULL, price DOUBLE NOT NULL", pa.table(products)
        ),
        "accounts": TableRows(
            "account_id INTEGER PRIMARY KEY, name VARCHAR NOT NULL, plan VARCHAR NOT NULL, town VARCHAR NOT NULL, "
            "signed_up DATE NOT NULL",
            pa.table(customers),
            "signed_up",
        ),
        "orders": _orders(rng, draw),
        "tickets": _tickets(rng, draw),
    }


def _orders(rng: np.random.Generator, draw: Draw) -> TableRows:
    account = [np.flatnonzero(period.ordered) for period in draw.periods]
    number = np.repeat(np.arange(len(account)), [len(each) for each in account])
    day = number * PERIOD_DAYS + rng.integers(1, PERIOD_DAYS + 1, len(number))
    amount = np.concatenate([period.amount[period.ordered] for period in draw.periods])
    who = np.concatenate(account)
    order = np.lexsort((who, day))
    rows = {
        "order_id": np.arange(1, len(number) + 1),
        "account_id": who[order] + 1,
        "product_id": rng.integers(1, PRODUCTS + 1, len(number)),
        "date": np.datetime64(START, "D") + day[order].astype("timedelta64[D]"),
        "amount": amount[order],
    }
    ddl = (
        "order_id INTEGER PRIMARY KEY, account_id INTEGER NOT NULL REFERENCES accounts (account_id), "
        "product_id INTEGER NOT NULL REFERENCES products (product_id), date DATE NOT NULL, amount DOUBLE NOT NULL"
    )
    return TableRows(ddl, pa.table(rows), "date")


def _tickets(rng: np.random.Generator, draw: Draw) -> TableRows:
    tones = np.concatenate([period.tones for period in draw.periods])
    number = np.repeat(np.arange(len(draw.periods)), [len(period.tones) for period in draw.periods])
    account = np.concatenate([np.arange(len(period.tones)) for period in draw.periods])
    row, tone = np.nonzero(tones)
    repeats = tones[row, tone]
    row, tone = np.repeat(row, repeats), np.repeat(tone, repeats)
    day = number[row] * PERIOD_DAYS + rng.integers(1, PERIOD_DAYS + 1, len(row))
    order = np.lexsort((account[row], day))
    rows = {
        "ticket_id": np.arange(1, len(row) + 1),
        "account_id": account[row][order] + 1,
        "date": np.datetime64(START, "D") + day[order].astype("timedelta64[D]"),
        "channel": rng.choice(CHANNELS, len(row)),
        "subject": [tickets_text.subject(rng) for _ in row],
        "body": [tickets_text.body(rng, each) for each in tone[order].tolist()],
    }
    ddl = (
        "ticket_id INTEGER PRIMARY KEY, account_id INTEGER NOT NULL REFERENCES accounts (account_id), "
        "date DATE NOT NULL, channel VARCHAR NOT NULL, subject VARCHAR NOT NULL, body VARCHAR NOT NULL"
    )
    return TableRows(ddl, pa.table(rows), "date")


def _truth(draw: Draw) -> pa.Table:
    columns = forecasts(draw)
    counts = [len(forecast) for forecast, _ in columns]
    times = [np.datetime64(START + number * PERIOD, "us") for number in range(len(counts))]
    values = {
        "entity": np.concatenate([np.arange(1, count + 1) for count in counts]),
        "as_of": np.repeat(times, counts),
        "forecast": np.concatenate([forecast for forecast, _ in columns]),
        "known_state": np.concatenate([known for _, known in columns]),
    }
    return pa.table(values)


TICKETS = Generated(
    name="tickets",
    task=TASK.name,
    create=create,
    features=features,
    bound="exact: the forward algorithm over mood and level, given the tone of every ticket",
)
