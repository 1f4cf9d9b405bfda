"""What a trunk becomes with labels: a classifier, chosen on a validation part, measured on a test part."""
