"""Typed Hydra configuration: schema, composition and command-line help."""
