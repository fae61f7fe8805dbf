"""Why a score is what it is: queries for the score without each row, column or table that it reads."""
