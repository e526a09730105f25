"""A run while it lasts: its metrics, its page and its view in a terminal."""
