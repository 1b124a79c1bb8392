"""Load, measures and reports that put this system beside others on one machine."""
