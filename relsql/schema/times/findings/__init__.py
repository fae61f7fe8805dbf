"""What is doubtful about times: columns that are filled in later, counts, wide tables, numbers from a start."""
