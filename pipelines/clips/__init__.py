"""Films and sounds: taken apart by `ingest`, kept as records, read in the graph."""
