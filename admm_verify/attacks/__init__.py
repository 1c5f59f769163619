"""Attacks: searches for inputs that violate a property, batched over properties and restarts."""
