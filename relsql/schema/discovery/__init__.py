"""Proposals of keys, links and times where nobody has declared them."""
