"""How fast are puzzles, exports on this machine, and a server?"""
