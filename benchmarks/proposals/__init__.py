"""How many of the keys, links and times of known schemas `relsql init` proposes, and how many of those are wrong."""
