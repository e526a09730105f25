"""The launcher: the process that speaks with Ray for `cluster=ray`."""
