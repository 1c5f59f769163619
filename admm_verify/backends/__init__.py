"""Array libraries and, where it pays, kernels behind a seam of a few verbs."""
