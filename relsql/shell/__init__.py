"""An interactive SQL shell: only `prompt` uses the terminal; `session` and `completion` do not."""
