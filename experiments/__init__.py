"""One script per figure or table; scripts import only public names of admm_verify and problems."""
