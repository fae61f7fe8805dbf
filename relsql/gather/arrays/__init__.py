"""Gathered rows as arrays: blocks of rows per path, the inputs of the network, and labelled seeds."""
