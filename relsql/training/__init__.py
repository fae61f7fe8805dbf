"""From a task to a stored model."""
