"""What users declare of their tables: as text, checked against the data, stored, and read from other databases."""
