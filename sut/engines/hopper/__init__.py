"""Faster kernels for vLLM on Hopper GPUs; `extension` brings them into an engine."""
