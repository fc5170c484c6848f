"""Steering modes, a file each: which of a connection's lines carry it now, and which only stand by.

A mode is a rule's wish (`plan.SteerPlan`) and a pure decision; `hagw.dataplane.steering` enforces it connection by
connection with MPTCP's backup flag, which works in both directions of its connection (ADR 35).
"""
