"""Clinics: a forecast that needs the patient's own recent visits and the recent visits of the patient's doctor."""

from __future__ import annotations

import datetime
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from benchmarks.data.generated.clinics_law import NEVER, PERIOD_DAYS, THRESHOLD, Draw, Size, forecasts, simulate
from benchmarks.data.generated.database import (
    FloatArray,
    Generated,
    TableRows,
    query_features,
    recency_features,
    write_database,
)
from relsql.demo.names import Namer
from relsql.tasks.task import Task

START = datetime.datetime(2015, 1, 1)
PERIOD = datetime.timedelta(days=PERIOD_DAYS)
TOWNS = 12
SPECIALTIES = ("general practice", "cardiology", "neurology", "orthopaedics")
REASONS = ("check-up", "follow-up", "renewal", "referral")
DRUGS = tuple(start + end for start in ("Ami", "Cor", "Lev", "Nor", "Pra") for end in ("dol", "pril", "tan", "zine"))
PRESCRIBED = 0.3
WINDOWS = (1, 4, 16)

LABEL_SQL = f"""\
SELECT t.timestamp AS date, v.patient_id AS patient_id,
       CASE WHEN arg_min(v.discomfort, v.date) > {THRESHOLD} THEN 1 ELSE 0 END AS unwell
FROM timestamps t
JOIN visits v ON v.date > t.timestamp AND v.date <= t.timestamp + INTERVAL '{{timedelta}}'
WHERE EXISTS (SELECT 1 FROM visits past WHERE past.patient_id = v.patient_id AND past.date <= t.timestamp)
GROUP BY t.timestamp, v.patient_id"""

TASK = Task(
    name="patient-discomfort",
    task_type="binary_classification",
    entity_table="patients",
    entity_col="patient_id",
    target_col="unwell",
    time_col="date",
    timedelta=f"{PERIOD_DAYS} days",
    sql=LABEL_SQL,
    description="Will the next visit, if there is one in 30 days, record a high discomfort?",
)


def create(path: Path, seed: int, size: Size | None = None) -> None:
    """Write the database and its truth; the same seed gives the same rows."""
    size = size or Size()
    rng = np.random.default_rng(seed)
    draw = simulate(rng, size)
    write_database(path, _tables(rng, draw, size), size.divided(TASK, START, PERIOD), _truth(draw, size))


def features(con: duckdb.DuckDBPyConnection, labels: pa.Table) -> dict[str, FloatArray]:
    """The planted features: the patient's columns, the patient's visits, and the visits of the last visit's doctor."""
    own = """SELECT p.smoker::INTEGER, epoch(p.birth_date) / 86400 / 365.25
             FROM known_labels l JOIN patients p ON p.patient_id = l.entity ORDER BY l.as_of, l.entity"""
    visits = """SELECT l.entity, l.as_of, v.*,
                       row_number() OVER (PARTITION BY l.entity, l.as_of ORDER BY v.date DESC, v.visit_id DESC) AS nth
                FROM known_labels l JOIN visits v ON v.patient_id = l.entity AND v.date <= l.as_of"""
    others = f"""SELECT s.entity, s.as_of, v.*,
                        row_number() OVER (PARTITION BY s.entity, s.as_of ORDER BY v.date DESC, v.visit_id DESC) AS nth
                 FROM (SELECT entity, as_of, doctor_id FROM ({visits}) WHERE nth = 1) s
                 JOIN visits v ON v.doctor_id = s.doctor_id AND v.date <= s.as_of"""
    readings = ("pressure", "wait", "discomfort")
    own_columns = query_features(con, labels, own)
    one_hop = np.column_stack([own_columns, recency_features(con, labels, visits, readings, WINDOWS)])
    two_hops = np.column_stack([one_hop, recency_features(con, labels, others, readings, WINDOWS)])
    return {"own columns": own_columns, "one hop": one_hop, "two hops": two_hops}


def _tables(rng: np.random.Generator, draw: Draw, size: Size) -> dict[str, TableRows]:
    namer, patients = Namer(rng), len(draw.smoker)
    towns = [namer.place() for _ in range(TOWNS)]
    births = np.datetime64(START, "D") - np.round(draw.age * 365.25).astype("timedelta64[D]")
    wards = {
        "ward_id": np.arange(1, TOWNS + 1),
        "name": [f"{town} Ward" for town in towns],
        "beds": rng.integers(8, 60, TOWNS),
    }
    doctors = {
        "doctor_id": np.arange(1, size.doctors + 1),
        "ward_id": rng.integers(1, TOWNS + 1, size.doctors),
        "name": [namer.person() for _ in range(size.doctors)],
        "specialty": rng.choice(SPECIALTIES, size.doctors),
    }
    people = {
        "patient_id": np.arange(1, patients + 1),
        "name": [namer.person() for _ in range(patients)],
        "birth_date": births,
        "smoker": draw.smoker,
        "town": rng.choice(towns, patients),
    }
    return {
        "wards": TableRows(
            "ward_id INTEGER PRIMARY KEY, name VARCHAR NOT NULL, beds INTEGER NOT NULL", pa.table(wards)
        ),
        "doctors": TableRows(
            "doctor_id INTEGER PRIMARY KEY, ward_id INTEGER NOT NULL REFERENCES wards (ward_id), "
            "name VARCHAR NOT NULL, specialty VARCHAR NOT NULL",
            pa.table(doctors),
        ),
        "patients": TableRows(
            "patient_id INTEGER PRIMARY KEY, name VARCHAR NOT NULL, birth_date DATE NOT NULL, "
            "smoker BOOLEAN NOT NULL, town VARCHAR NOT NULL",
            pa.table(people),
        ),
        "visits": _visits(rng, draw),
        "prescriptions": _prescriptions(rng, draw),
    }


def _visits(rng: np.random.Generator, draw: Draw) -> TableRows:
    patient, doctor, day = (
        np.concatenate([getattr(period, name) for period in draw.periods]) for name in ("patient", "doctor", "day")
    )
    period = np.repeat(np.arange(len(draw.periods)), [len(each.day) for each in draw.periods])
    dates = np.datetime64(START, "D") + (period * PERIOD_DAYS + day).astype("timedelta64[D]")
    readings = np.concatenate([each.readings for each in draw.periods], axis=1)
    order = np.lexsort((patient, dates))
    pressure, wait, discomfort = readings[:, order]
    rows = {
        "visit_id": np.arange(1, len(day) + 1),
        "patient_id": patient[order] + 1,
        "doctor_id": doctor[order] + 1,
        "date": dates[order],
        "reason": rng.choice(REASONS, len(day)),
        "pressure": pressure,
        "wait": wait,
        "discomfort": discomfort,
    }
    ddl = (
        "visit_id INTEGER PRIMARY KEY, patient_id INTEGER NOT NULL REFERENCES patients (patient_id), "
        "doctor_id INTEGER NOT NULL REFERENCES doctors (doctor_id), date DATE NOT NULL, reason VARCHAR NOT NULL, "
        "pressure DOUBLE NOT NULL, wait DOUBLE NOT NULL, discomfort DOUBLE NOT NULL"
    )
    return TableRows(ddl, pa.table(rows), "date")


def _prescriptions(rng: np.random.Generator, draw: Draw) -> TableRows:
    """Rows that are unrelated to the label, so that a model has to learn to ignore them."""
    visitors = [period.patient for period in draw.periods]
    period = np.repeat(np.arange(len(visitors)), [len(each) for each in visitors])
    patient = np.concatenate(visitors)
    chosen = rng.random(len(patient)) < PRESCRIBED
    period, patient = period[chosen], patient[chosen]
    day = period * PERIOD_DAYS + rng.integers(1, PERIOD_DAYS + 1, len(patient))
    rows = {
        "prescription_id": np.arange(1, len(patient) + 1),
        "patient_id": patient + 1,
        "date": np.datetime64(START, "D") + day.astype("timedelta64[D]"),
        "drug": rng.choice(DRUGS, len(patient)),
        "dose_mg": 5.0 * rng.integers(1, 21, len(patient)),
    }
    ddl = (
        "prescription_id INTEGER PRIMARY KEY, patient_id INTEGER NOT NULL REFERENCES patients (patient_id), "
        "date DATE NOT NULL, drug VARCHAR NOT NULL, dose_mg DOUBLE NOT NULL"
    )
    return TableRows(ddl, pa.table(rows), "date")


def _truth(draw: Draw, size: Size) -> pa.Table:
    entities, times, columns = [], [], []
    for number, (period, probabilities) in enumerate(zip(draw.periods, forecasts(draw, size), strict=True)):
        asked = period.last_doctor != NEVER
        entities.append(period.patient[asked] + 1)
        times.append(np.full(int(asked.sum()), np.datetime64(START + number * PERIOD, "us")))
        columns.append(np.stack(probabilities)[:, asked])
    forecast, known_state = np.concatenate(columns, axis=1)
    values = {
        "entity": np.concatenate(entities),
        "as_of": np.concatenate(times),
        "forecast": forecast,
        "known_state": known_state,
    }
    return pa.table(values)


CLINICS = Generated(
    name="clinics",
    task=TASK.name,
    create=create,
    features=features,
    bound="exact: a Kalman filter over all patients and doctors, averaged over the doctor of the next visit",
)
