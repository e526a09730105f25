"""The process beside an engine: `python -m sut.replica`."""
