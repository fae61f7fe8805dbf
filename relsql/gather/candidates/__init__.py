"""Which items a recommendation ranks for an entity, and what is counted of each pair of both."""
