"""Kinds of tasks: which rows are asked about, at which moments, and what their labels are."""
