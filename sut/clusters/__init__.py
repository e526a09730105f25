"""Where replicas run and how they are started."""
