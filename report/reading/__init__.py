"""Run folders as typed values and columns; nothing here judges."""
