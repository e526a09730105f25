"""Engines: what turns prompts into answers inside a replica."""
