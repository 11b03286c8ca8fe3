"""astraios.fit.laws"""
