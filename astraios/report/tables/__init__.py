"""The tables: one small file each."""
