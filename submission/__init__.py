"""Runs, tree and checks of an MLPerf Inference submission."""
