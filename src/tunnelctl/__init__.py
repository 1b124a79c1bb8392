"""The command line that manages hubs over their gRPC API. Knows the API and nothing of the tunnel."""
