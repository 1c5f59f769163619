"""Interval and linear bounds of all nodes, rounded outward."""
