"""One exchange without Envoy."""
