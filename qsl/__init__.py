"""Samples: prompts and references, the LoadGen QSL, and their preparation."""

import base  # noqa: F401  (takes a foreign working directory off the path)
