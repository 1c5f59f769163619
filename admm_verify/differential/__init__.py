"""Two networks side by side: how far apart their outputs are, and whether they can stand for each other."""
