"""bf16 checkpoint to fp8 with static scales, in an environment of its own."""
