"""What runs inside the sandbox: standard library only, never imported by the program that started it."""
