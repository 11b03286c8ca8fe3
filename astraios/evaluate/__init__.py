"""Evaluation of models and of generated texts: tasks/, generate/, execute/."""
