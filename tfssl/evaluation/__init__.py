"""How good are the features, stage by stage, beside random weights; and how well are a run's own puzzles solved?"""
