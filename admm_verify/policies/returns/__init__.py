"""Returns certified against all noise, in environments whose dynamics are known."""
