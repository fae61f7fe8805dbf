"""How good a model is, and what a plain baseline reaches."""
