"""The golden vectors on one engine, computed in a process of its own.

A wheel for another CPU, or a hostile model, can kill the process that opens it, never end, or ask
for all memory.
"""
