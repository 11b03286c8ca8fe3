"""astraios.fit.links"""
