"""How a model would have done: trained at moments of the past, scored on what came next."""
