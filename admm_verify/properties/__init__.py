"""Properties: VNN-LIB readers, the exact in-memory form, and its rows."""
