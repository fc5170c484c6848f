"""Samples in, health out: liveness of uplinks and gateways, and the no-harm guard."""
