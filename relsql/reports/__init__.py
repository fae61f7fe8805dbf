"""What a model is and how good it is, on a page: its card, and a report with pictures."""
