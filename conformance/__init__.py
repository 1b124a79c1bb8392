"""Programs and drivers that hold this project against the Go implementations it has to work with."""
