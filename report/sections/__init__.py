"""One module for each section of report.json: its figures and its tables."""
