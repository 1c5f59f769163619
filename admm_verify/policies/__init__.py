"""Policies of reinforcement learning: read from the files that people have, certified, attacked, and played."""
