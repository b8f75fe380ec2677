"""The glass box: views that draw what was measured inside the model, each about the token under one cursor."""
