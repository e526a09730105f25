"""From LoadGen's accuracy log to ROUGE."""

import base  # noqa: F401  (takes a foreign working directory off the path)
