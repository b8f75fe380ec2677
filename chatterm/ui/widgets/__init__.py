"""What is drawn, each right alone on a bare test app."""
