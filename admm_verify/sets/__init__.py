"""Input sets: what a worst case is taken over, and all that anybody asks of it."""
