"""What happened over the time of a run: series, episodes, late requests, advice.

Pure functions on numpy arrays. `inputs` alone knows how a run was recorded.
"""
