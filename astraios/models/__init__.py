"""Base models (ladders/), tuning methods (methods/) and what is counted of them."""
