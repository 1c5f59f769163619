"""Convex relaxations of activations."""
