"""What is computed from a run: noise, comparisons, intervals, fits, physical limits."""
