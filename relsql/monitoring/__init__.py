"""Is a model still good? Its scores against what happened, and the data of today against those of training."""
