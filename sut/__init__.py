"""The System Under Test: LoadGen adapter, dispatcher, transport, replicas."""
