"""Statements about models, `CREATE MODEL` and others, beside those of SQL."""
