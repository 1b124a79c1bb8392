"""yamux by other authors: their programs, and the tests that hold a live session with each."""
