"""The k-NN manifold of a set of features: the union of balls that reach each feature's k-th neighbour."""
