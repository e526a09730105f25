"""Has vLLM's CUDA graphs hold the writes to the KV cache.

vLLM splits a model at each layer's cache write and attention, and captures what lies
between. A write has nothing that changes from step to step but the contents of its
tensors, so it can be captured as well: one kernel fewer that the host starts by itself
in every layer of a step with prompts.
"""

import logging
from typing import Any

log = logging.getLogger("vllm.sut.graphs")
_WRITE = "kv_cache_update"
EXTENSION = "sut.engines.hopper"


def hold_cache_writes(config: Any) -> None:
    """Change a configuration that uses this package's kernels.

    Args:
        config: vLLM's `VllmConfig`, before an engine is made of it. Any other
            configuration is left as it is.
    """
    if not config.parallel_config.worker_extension_cls.startswith(EXTENSION):
        return
    compilation = config.compilation_config
    held = [op for op in compilation.splitting_ops or [] if _WRITE in op]
    if held:
        compilation.splitting_ops = [
            op for op in compilation.splitting_ops if op not in held
        ]
        log.info("CUDA graphs hold %s", ", ".join(held))
