"""Models as plain SQL in the file, checked against the networks."""
