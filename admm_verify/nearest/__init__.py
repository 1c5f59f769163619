"""How near a network comes to something: nearest points, certified from below and attained from above."""
