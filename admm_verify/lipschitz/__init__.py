"""How steep networks are: norms of layers and Lipschitz constants, certified from above and attained from below."""
