"""Text: read in blocks, split into words in the graph, written down once as numbers, and its vocabulary."""
