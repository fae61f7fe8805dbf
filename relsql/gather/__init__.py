"""Which rows a score reads, in SQL, and the arrays that are made of them."""
