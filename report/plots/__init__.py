"""Plots of a report, for a page, for slides and for print."""
