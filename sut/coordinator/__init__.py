"""The process beside LoadGen: samples go out to replicas, answers come back."""
