"""Labels: a task's query, checked, run in a sandbox, and what is doubtful in its result."""
