"""The demo: a real Envoy, the sidecar and a scripted provider on this machine, and a tour through both directions."""
