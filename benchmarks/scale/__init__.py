"""What scoring costs beyond one process: parts of the entities, each by a process of its own."""
