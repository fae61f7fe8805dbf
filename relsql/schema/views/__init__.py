"""Tables that are no tables of the file: views over files, and temporary tables."""
