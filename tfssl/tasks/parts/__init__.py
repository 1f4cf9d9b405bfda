"""What several tasks are made of: patches, permutations, sequences of frames, colour bins, last layers."""
