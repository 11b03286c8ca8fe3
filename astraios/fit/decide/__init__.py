"""Decisions from fits: ranking, crossings, allocation, the next runs, the end of a run."""
