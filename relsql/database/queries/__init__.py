"""SQL as a tree: parsed, checked, and sealed against macros and settings of a session."""
