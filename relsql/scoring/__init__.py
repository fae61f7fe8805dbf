"""Score entities into files and tables, in jobs that can be resumed, and embed new rows."""
