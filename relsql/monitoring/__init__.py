"""Does a model still hold: its scores beside what happened, and the data of today beside those of training."""
