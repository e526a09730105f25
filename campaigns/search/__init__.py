"""The highest rate that keeps the limits, from forecasts, in three runs."""
