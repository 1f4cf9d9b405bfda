"""What TensorFlow Serving wants beside a SavedModel: warm-up records in it, and configuration beside the versions."""
