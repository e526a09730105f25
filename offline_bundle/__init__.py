"""Everything for a host without a network, in parts that can be carried there."""

import base  # noqa: F401  (takes a foreign working directory off the path)
