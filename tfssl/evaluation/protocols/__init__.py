"""Ways to measure features, one file each."""
