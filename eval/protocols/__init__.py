"""Which measurements does the project repeat? Each takes a pipeline and data, and returns dataclasses."""
