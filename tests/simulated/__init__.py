"""Simulates a cluster step by step and writes the run folder that it would leave.

Continuous batching as vLLM does it: each engine step takes in prompts under a token
budget and makes one token for every running sample. Noise is what real runs show:
prompt lengths of a heavy-tailed distribution, steps with log-normal noise and rare
long ones, devices that differ by a percent, work handed out by demand (Offline) or
arrivals at random to the least loaded replica (Server).
"""
