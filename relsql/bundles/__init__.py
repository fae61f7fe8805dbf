"""Models as folders: bundles that are exported from one database file and imported into another."""
