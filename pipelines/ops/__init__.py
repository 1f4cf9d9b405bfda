"""Pure functions on pixels, in the graph: geometry, tiles, holes, Lab colour, windows."""
