"""gRPC over HTTP/2 for one job: an Envoy on loopback, a Unix socket or a private network. No TLS.

``frames`` and ``states`` are the RFC's numbers and tables, ``connection`` the HTTP/2 machine, ``session`` the gRPC
machine on top of it; both are pure. ``shell`` joins them to asyncio, ``transport`` to the Exchange.
"""
