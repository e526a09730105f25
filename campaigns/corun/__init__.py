"""Several models at once on one cluster, each alone and together."""
