"""Plots of a report, for a page, for slides and for print."""

import logging

# Where no home folder can be written Matplotlib says so in two lines; it then works as
# well, from a temporary folder.
logging.getLogger("matplotlib").setLevel(logging.ERROR)
