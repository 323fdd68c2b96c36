"""How an adapter learns from a user's own pairs: cropped alike, encoded once, read by number."""
