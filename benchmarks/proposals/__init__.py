"""How many of the keys, links and time columns of known schemas `relsql init` proposes, and how many of them are wrong."""
