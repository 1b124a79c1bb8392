"""The agents' side of the API: streams that agents open are bridged into a gRPC server of their own.

grpcio takes no transport of ours, so each such stream is joined to a connection to a private unix socket, and who calls
is known by the name that connection is bound to.
"""
