"""Runs, tree and checks of an MLPerf Inference submission."""

import base  # noqa: F401  (takes a foreign working directory off the path)
