"""Runs that are kept: their index, their archive, and what other tools read of them."""
