"""The command `mlperf-sut`: one name for everything that users run."""

import base  # noqa: F401  (takes a foreign working directory off the path)
