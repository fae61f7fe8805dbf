"""Write rows as text, and encode texts as token ids."""
