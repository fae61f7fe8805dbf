"""The rows that a score reads, in SQL, and the arrays that are built from them."""
