"""`pretrain`: from a source to an encoder, in a folder."""
