"""How throughput and latency change with the number of replicas."""
