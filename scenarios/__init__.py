"""What a scenario means to LoadGen, and the judgement of a finished run."""
