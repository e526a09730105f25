"""Plots of a report, for the page, for slides and for print."""

import logging

# Matplotlib warns if it cannot write into the home folder. It then uses a temporary
# folder, which works as well.
logging.getLogger("matplotlib").setLevel(logging.ERROR)
