"""The times of rows: columns, headers, readings of text and numbers, sentinels, and what is doubtful about them."""
