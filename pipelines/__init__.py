"""From files to batches: sources, headers, decoding, geometry, order. Installed as tfssl.pipelines; knows no task."""
