"""The process that starts replicas on a host: `python -m sut.node`."""
