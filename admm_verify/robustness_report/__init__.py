"""One network's report: accuracy clean, attacked and certified over radii, and how steep the network is."""
