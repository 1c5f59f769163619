"""Complete verification: attack, branch and bound, exact mode."""
