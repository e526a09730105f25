"""How the benchmark scales: repeated runs, and the highest rate, of several sizes."""
