"""Statements about models, such as `CREATE MODEL`, that can be written between statements of SQL."""
