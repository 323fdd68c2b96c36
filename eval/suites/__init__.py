"""On which data is a model measured, in which directions, and by which measures? A file each."""
