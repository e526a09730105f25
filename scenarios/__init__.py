"""What a scenario means to LoadGen, and the judgment of a finished run."""
