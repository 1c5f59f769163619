"""Systems in discrete time: all steps as one network, bounded over cells of its inputs."""
