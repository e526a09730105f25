"""The run folder: typed records, their writer and readers, and LoadGen's logs."""
