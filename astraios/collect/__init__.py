"""astraios.collect"""
