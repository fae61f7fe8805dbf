"""Trained models as plain SQL: views, macros, and tables of weights."""
