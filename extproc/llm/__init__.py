"""The vocabulary in the middle: what a request, a response and a loss are, whichever API says them."""
