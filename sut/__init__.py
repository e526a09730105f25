"""The System Under Test: LoadGen adapter, dispatcher, transport, replicas."""

import base  # noqa: F401  (takes a foreign working directory off the path)
