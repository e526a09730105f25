"""Servers that run already, over the OpenAI completions protocol: one per replica."""
