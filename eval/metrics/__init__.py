"""Metrics: functions from arrays to numbers. One file per question; none reads a file or runs a model."""
