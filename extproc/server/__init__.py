"""Carries Envoy's messages to exchanges and their answers back; health; drain.

``service`` is what a transport sees of the rest; ``grpcio`` and ``h2`` are the transports; ``serving`` runs one in this
process, ``workers`` several processes, each of which is a ``worker``. Nothing is imported here: ``health``, which only
asks, is called every few seconds.
"""
