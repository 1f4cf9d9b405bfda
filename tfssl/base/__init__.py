"""What every room may use: errors, names with settings, checks of arguments, whole files, statistics."""
