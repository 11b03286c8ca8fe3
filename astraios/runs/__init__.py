"""The run directory: the truth about one run, of which the database is an index."""
