"""Integrations with other software: dbt, Harlequin, DuckDB clients (the server) and RelBench data sets."""
