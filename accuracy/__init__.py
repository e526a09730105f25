"""From LoadGen's accuracy log to ROUGE."""
