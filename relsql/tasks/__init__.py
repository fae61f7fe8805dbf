"""Questions about the future: the task, its splits, and its labels."""
