"""Training: from a task to a stored model."""
