"""Studies: many runs, each pretrained and evaluated alike, in one folder, as a table, a figure and JSON."""
