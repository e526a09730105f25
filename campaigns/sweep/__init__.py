"""A run for each point of a grid or list."""
