"""What to do about each cause of an episode, and how to confirm it."""

FIXES: dict[str, tuple[str, str]] = {
    "host": (
        "free the host for the replica: bind it to the cores and the memory of its"
        " GPU's NUMA node, keep other processes off these cores (isolated cores), and"
        " set the CPU frequency governor to performance",
        "watch the replica's process and the GPU's utilization during a run at the same"
        " rate: utilization stays where it is outside the episode",
    ),
    "throttled": (
        "cool the GPU or give it the power it needs",
        "nvidia-smi -q -d PERFORMANCE shows no active slowdown reason under load",
    ),
    "clock": (
        "set the GPU's clocks and power limit as they are outside the episode",
        "nvidia-smi -q -d CLOCK,POWER under load",
    ),
    "gpu": (
        "find what else used the GPU at that time, and keep it away",
        "nvidia-smi pmon during a run at the same rate shows one process",
    ),
    "kv": (
        "give the KV cache more room: a higher gpu_memory_utilization, an fp8 KV cache,"
        " or fewer requests at once (max_num_seqs)",
        "the KV cache in use stays below 95% at the same rate",
    ),
    "network": (
        "look at the link between the coordinator and the replica: route, load, other"
        " traffic",
        "the time outside the replica stays level at the same rate",
    ),
    "cold": (
        "warm up with more requests of the run's shapes before the clock starts"
        " (engine.warmup_requests)",
        "the first seconds of a rerun are as fast as the rest",
    ),
    "fenced": (
        "find out why the replica was fenced (its log is in the folder replicas/)",
        "a rerun in which no replica is fenced",
    ),
    "prompts": (
        "spread long prompts over the run, or compare tokens/s: the load itself"
        " changed",
        "a rerun with another seed",
    ),
    "arrivals": (
        "look at what changed the arrivals: with LoadGen's Poisson arrivals such a"
        " change does not happen by chance",
        "a rerun with the same seed has the same arrivals",
    ),
    "unknown": (
        "find what happened at that time: the record does not show it",
        "a rerun on the same replica at another time, and one on another replica",
    ),
}
"""By cause: what to do, and what shows that it helped."""
