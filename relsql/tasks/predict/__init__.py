"""A question in one line, `PREDICT ... FOR EACH ...`: read, resolved along the links, and compiled to a label query."""
