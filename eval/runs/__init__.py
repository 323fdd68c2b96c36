"""What is a run of an evaluation: pictures made once, measured, and reported with their provenance."""
