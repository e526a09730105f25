"""Is this cluster fit? Each replica alone, then all together."""
