"""A record per result: what commands say, and their JSON with its schema."""
