"""astraios.collect.ladders"""
