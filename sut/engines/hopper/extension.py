"""Has vLLM use the kernels of this package.

Give it `worker_extension_cls=sut.engines.hopper.extension.HopperKernels`, so that each
worker imports this module before it loads the model, and an `additional_config` of any
kind: that is part of the key under which vLLM keeps compiled graphs, the class is not,
and a graph of another engine would be used unseen.

All are for fp8 with one static scale per tensor, and an fp8 KV cache of FlashInfer's
attention. Whatever a model, a layer or a batch has otherwise stays with vLLM.
"""

from importlib.util import find_spec

from sut.engines.hopper import activation, products

products.install()
activation.install()
if find_spec("flashinfer") is not None:
    from sut.engines.hopper import attention, cache, plan

    attention.install()
    cache.install()
    plan.install()


class HopperKernels:
    """Has vLLM's workers import this module; adds nothing else to them."""
