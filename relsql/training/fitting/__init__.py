"""Fitting the parts of a model to its seeds: the network, the ranker and the boosted trees."""
