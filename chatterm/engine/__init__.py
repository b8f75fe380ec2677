"""What makes tokens: a protocol, and the engines that keep it."""
