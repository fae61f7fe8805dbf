"""Which items a recommendation ranks for an entity, and the counts that describe each pair."""
