"""The figures: one small file each."""
