"""A collection seen through an encoder: a map, near-duplicates, outliers, what is confused, what to label first."""
