"""`report.html`: what a run was, what it learned and what came out, in one file without links; and drawn puzzles."""
