"""From encoded bytes to pixels, in the graph: headers, formats, crops, the cache in memory."""
