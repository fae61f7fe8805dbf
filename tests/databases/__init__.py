"""Look-alikes of public databases, which go from file to a published model."""
