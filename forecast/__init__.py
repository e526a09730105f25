"""Forecasts what a run would do, from the records of runs that were made."""
