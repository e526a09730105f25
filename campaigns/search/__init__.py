"""The highest rate that meets the limits, from forecasts, in three runs."""
