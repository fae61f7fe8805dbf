"""What is measured on: imported data sets with their tasks, a generated shop, and databases with a known truth."""
