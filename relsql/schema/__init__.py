"""Tables, types, times, keys and links: what the database declares, and what its users have declared to relsql."""
