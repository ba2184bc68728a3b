"""Files and data frames into arrays."""
