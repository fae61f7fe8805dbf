"""Connections, names, transactions, relsql's own tables, digests, and SQL that is parsed and sealed."""
