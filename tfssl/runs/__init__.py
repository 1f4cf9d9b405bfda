"""What lies in a run's folder, as objects: settings, networks, checkpoints, the last evaluation."""
