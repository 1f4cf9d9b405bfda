"""Inside a network: its first filters, and what its maps tell apart in pictures."""
