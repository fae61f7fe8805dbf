"""Explanations of scores as relations in Python, and what each input brings over all labels."""
