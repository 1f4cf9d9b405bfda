"""Networks without heads: trunks for pictures and for sound, and the batch norm that they are made of."""
