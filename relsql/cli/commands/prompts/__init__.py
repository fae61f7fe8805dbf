"""Commands that run SQL with the models attached: one statement, a prompt, a server."""
