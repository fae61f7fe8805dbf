"""The card of a stored model: its fields, reading and checking it, and comparing it with the database."""
