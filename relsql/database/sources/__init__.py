"""Data outside the file: databases that are attached, and files that views read."""
