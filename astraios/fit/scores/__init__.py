"""Scores: from loss through a link, or from size where there are no losses."""
