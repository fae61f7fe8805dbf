"""Tables whose rows are elsewhere: in attached databases, in files that views read, or only in a connection."""
