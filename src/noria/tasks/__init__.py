"""Applications: one file each."""
