"""Policies played in environments, as they are and under attack."""
