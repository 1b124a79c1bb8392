"""Messages made to be read differently by two parties, and what must become of each of them."""
