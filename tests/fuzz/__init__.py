"""Damaged input for everything that decodes bytes from elsewhere."""
