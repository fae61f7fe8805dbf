"""What a seed reads without a row, a column or a table, in SQL: for explanations."""
