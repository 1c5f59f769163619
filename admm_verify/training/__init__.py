"""Networks made verifiable: losses of certified and robust training, penalties, and the loop that minimises them."""
