"""Whose pictures are these? Rarity, realism and near-copies of generated pictures against a training set."""
