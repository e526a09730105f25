"""Two configurations compared: their measures, what differs, and how sure that is."""
