"""astraios.fit"""
