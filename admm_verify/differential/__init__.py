"""Pairs of networks: what they differ by over a set of inputs, certified and attacked, and whether they agree."""
