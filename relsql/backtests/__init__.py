"""How a model would have performed: trained at moments of the past, scored on what came next."""
