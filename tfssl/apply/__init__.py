"""What a run can do for its user: colorize, inpaint, localise a sound, track a mask."""
