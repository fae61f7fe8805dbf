"""What looks like a table of the file and is not: views over files, and temporary tables."""
