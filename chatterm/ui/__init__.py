"""All of Textual; nothing but `cli` imports it."""

import os

# A key that comes while a reply streams waits for the next frame. At Textual's 60 frames a second the slowest of a
# hundred keys took 36 ms, at 120 it takes 22 ms; the transcript draws 20 times a second in any case.
os.environ.setdefault("TEXTUAL_FPS", "120")
