"""Whether rows of the future change what a score or a label reads: the proof, on the data of the user."""
