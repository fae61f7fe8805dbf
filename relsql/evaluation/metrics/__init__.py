"""How good scores are: metrics of every kind of task, and their intervals."""
