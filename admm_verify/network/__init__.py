"""Networks as graphs: nodes, linear maps, simplification and the readers."""
