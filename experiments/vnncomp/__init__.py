"""Competition scripts for VNN-COMP, and a runner that times, replays and reports a whole list of instances."""
