"""The commands beside ``run``, a module for each group."""
