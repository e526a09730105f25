"""The best settings: proposed, measured, and confirmed in pairs of runs."""
