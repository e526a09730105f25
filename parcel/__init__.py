"""Everything for a host without a network, in parts that can be carried there."""
