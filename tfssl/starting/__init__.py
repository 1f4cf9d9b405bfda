"""From a folder of photos and some minutes to an encoder, its figures and a classifier: `quickstart`."""
