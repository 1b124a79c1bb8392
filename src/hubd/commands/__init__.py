"""The commands beside ``serve``, a module for each group."""
