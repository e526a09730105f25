"""Series of runs, each a process of its own."""

import base  # noqa: F401  (takes a foreign working directory off the path)
