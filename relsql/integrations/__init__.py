"""Hosts and sources: dbt, Harlequin, the server, RelBench folders."""
