"""Whether rows of the future change what a score or a label reads: checked on the user's own data."""
