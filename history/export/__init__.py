"""A run in the formats of other tools; each is imported only when it is asked for."""
