"""An interactive SQL shell: only `prompt` uses the terminal; `statements`, `session` and `completion` do not."""
