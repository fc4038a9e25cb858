"""The reference configuration of Envoy, ``deploy/envoy.yaml``, and what changes its addresses."""
