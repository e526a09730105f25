"""From run folders to the scaling and symmetry report; a pure function of files."""

import base  # noqa: F401  (takes a foreign working directory off the path)
