"""bf16 checkpoint to fp8 with static scales, in an environment of its own."""

import base  # noqa: F401  (takes a foreign working directory off the path)
