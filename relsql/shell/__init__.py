"""An interactive SQL shell: `statements`, `session` and `completion` know no terminal, `prompt` is the thin front."""
