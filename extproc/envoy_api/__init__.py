"""Stubs of Envoy's and gRPC's protos: generated, see protos/README.md."""
