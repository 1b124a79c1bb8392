"""The gRPC API of hub and agent: ``.proto`` files with the code generated from them beside them."""
