"""The solvers: splitting schemes, certified dual bounds, feasible values."""
