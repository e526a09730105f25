"""LoadGen's settings and schedule for each scenario, and the gate for finished runs."""
