"""Publish models as plain SQL in the database file, checked against the networks."""
