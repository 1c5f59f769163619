"""Reachable sets of neural networks in feedback, and whether they do what they must."""
