"""The child process: everything that touches llama.cpp."""
