"""astraios.report"""
