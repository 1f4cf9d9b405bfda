"""Several tasks on shared encoders: one stream of puzzles, one model, one loss."""
