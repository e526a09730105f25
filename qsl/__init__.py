"""Samples: prompts and references, the LoadGen QSL, and their preparation."""
