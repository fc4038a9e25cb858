"""One ext_proc stream as a state machine, and the two roles that it plays."""
