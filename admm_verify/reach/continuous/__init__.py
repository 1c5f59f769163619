"""Systems in continuous time: affine forms carried from one control period to the next."""
