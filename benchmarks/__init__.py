"""What chatterm costs: ratios measured in one run, against a bare llama.cpp loop and an empty Textual app."""
